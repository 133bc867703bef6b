//! Moments that the books and orders are asked about.

use async_graphql::{Context, ID, InputObject};
use projections::as_of::{AsOf, AsOfError, Moment};

use crate::{
    caller::Caller,
    errors::{Code, Failed, coded},
    log_event,
    scalars::{Date, DateTime},
};

/// A moment that has been: exactly one of its fields.
#[derive(InputObject)]
pub(crate) struct AsOfInput {
    /// What was known when the log stood where this consistency token says.
    position: Option<String>,
    /// What was known after the event with this global id.
    event: Option<ID>,
    /// What had occurred by then in business time, that instant included, whenever it was recorded.
    at: Option<DateTime>,
    /// What is booked through that day, whenever it was recorded. Orders count until the day ends in the
    /// books' time zone.
    date: Option<Date>,
}

impl AsOfInput {
    fn read(&self, caller: &Caller<'_>) -> Result<AsOf, Failed> {
        let (masks, tenant) = (&caller.service.masks, caller.tenant());
        let wrong = |why: &str| coded(Code::BadInput, why).at("asOf");
        match self {
            AsOfInput { position: Some(token), event: None, at: None, date: None } => {
                let position = masks.position(tenant, token);
                position.map(AsOf::Position).ok_or_else(|| wrong("that is no consistency token of yours"))
            }
            AsOfInput { position: None, event: Some(id), at: None, date: None } => {
                let position = log_event::position(masks, tenant, id);
                position.map(AsOf::Position).ok_or_else(|| wrong("that is not the id of an event"))
            }
            AsOfInput { position: None, event: None, at: Some(at), date: None } => Ok(AsOf::Time(at.0)),
            AsOfInput { position: None, event: None, at: None, date: Some(date) } => Ok(AsOf::Date(date.0)),
            _ => Err(wrong("give exactly one of position, event, at and date")),
        }
    }
}

/// The moment that was asked for, once the views can tell of it; nothing for how it is now.
pub(crate) async fn moment(caller: &Caller<'_>, asked: Option<AsOfInput>) -> Result<Option<Moment>, Failed> {
    let Some(asked) = asked else { return Ok(None) };
    let as_of = asked.read(caller)?;
    let commands = caller.commands();
    let moment = as_of.reached(&**commands.store(), commands.now()).await?;
    caller.fresh(moment.needs()).await?;
    Ok(Some(moment))
}

impl From<AsOfError> for Failed {
    fn from(error: AsOfError) -> Self {
        match error {
            // How far the log is would tell a tenant how much the others order.
            AsOfError::Zero | AsOfError::NoPosition { .. } => {
                coded(Code::BadInput, "the log has not come to that position").at("asOf")
            }
            AsOfError::Future { .. } | AsOfError::FutureDay { .. } => coded(Code::BadInput, error).at("asOf"),
            AsOfError::Stale(_) => coded(Code::Stale, "the views have not come so far yet; ask again in a moment"),
            AsOfError::View(error) => error.into(),
            AsOfError::Log(error) => {
                tracing::warn!(%error, "the log cannot be read");
                coded(Code::Unavailable, "the log does not answer; ask again in a moment")
            }
            AsOfError::Unfoldable { .. } => {
                tracing::error!(%error, "an order's past cannot be told");
                coded(Code::Internal, "an order of that day cannot be folded from its events")
            }
        }
    }
}

/// Says beside the answer when a view lacks some of what there was.
pub(crate) async fn warn_incomplete(
    ctx: &Context<'_>,
    caller: &Caller<'_>,
    view: &'static str,
    moment: Option<Moment>,
) -> Result<(), Failed> {
    let lacks = caller
        .views()
        .read(move |snapshot| {
            let mut lacking = snapshot.incomplete().filter(|build| build.projection == view);
            let since = lacking.next().map(|build| build.incomplete_since.unwrap_or(build.position + 1));
            Ok(since.is_some_and(|since| moment.is_none_or(|moment| moment.is_touched_by(since))))
        })
        .await?;
    if lacks {
        let failed = coded(Code::Incomplete, "this is incomplete: some events could not be taken in yet");
        ctx.add_error(ctx.set_error_path(failed.into_server_error()));
    }
    Ok(())
}
