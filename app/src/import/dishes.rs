//! A canteen's dishes from a file of `name,category,price[,currency][,tax_rate]`.

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use domain::{Currency, TenantId, menu::Dish, tax::TaxRate};

use super::{
    DishTerms, ImportRequest,
    canteen::Canteen,
    report::{BadRows, ImportReport},
    rows::{price, tax_rate},
    table::{Fault, Row, Table},
};
use crate::{
    config::usage,
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Puts every dish of the file on the menu; a dish that is there under the same name is changed.
pub async fn import(
    house: &House,
    tenant: TenantId,
    request: &ImportRequest,
    terms: &DishTerms,
    progress: OnProgress<'_>,
) -> anyhow::Result<ImportReport> {
    let known = Canteen::find(house, tenant, &terms.canteen).await?;
    let currency = currency(terms, known.as_ref())?;
    let mut report = ImportReport::new(tenant, &request.file, &terms.canteen, currency);
    let file = request.file.clone();
    let read = tokio::task::spawn_blocking(move || read(&file, currency));
    let Dishes { rows, dishes, bad } = read.await.context("reading the file broke off")??;
    (report.rows, report.bad) = (rows, bad);
    report.refused = request.strict && report.bad.bad_rows > 0;
    if report.refused || dishes.is_empty() {
        return Ok(report);
    }
    let mut canteen = match (known, &terms.zone) {
        (Some(canteen), _) => canteen,
        (None, Some(zone)) => {
            jiff::tz::TimeZone::get(zone)
                .map_err(|_| usage(format!("--zone: {zone:?} is not an IANA time zone such as Asia/Shanghai")))?;
            Canteen::find_or_open(house, tenant, &terms.canteen, currency, zone).await?
        }
        (None, None) => {
            let name = &terms.canteen;
            return Err(usage(format!("there is no canteen {name:?} yet; --zone ZONE and --currency CODE open it")));
        }
    };
    let mut changed = Vec::new();
    for Said { dish, tax } in dishes {
        match canteen.dish(&dish.name)? {
            // What the file says nothing of stays as the menu has it: options, and tax without a rate.
            Some((id, old)) => {
                let dish = Dish { options: old.options.clone(), tax: tax.unwrap_or(old.tax), ..dish };
                if dish == *old {
                    report.dishes_unchanged += 1;
                } else {
                    changed.push((id, dish));
                }
            }
            None => changed.push((canteen.dish_id(&dish.name), Dish { tax: tax.unwrap_or_default(), ..dish })),
        }
    }
    report.dishes_put = changed.len() as u64;
    progress(Progress::new("importing dishes", 0, Some(report.dishes_put)));
    canteen.put(house, tenant, changed).await?;
    Ok(report)
}

fn currency(terms: &DishTerms, known: Option<&Canteen>) -> anyhow::Result<Currency> {
    match (terms.currency, known.map(|canteen| canteen.currency)) {
        (Some(asked), Some(own)) if asked != own => {
            Err(usage(format!("the canteen {:?} sells in {own}, not in {asked}", terms.canteen)))
        }
        (Some(currency), _) | (None, Some(currency)) => Ok(currency),
        (None, None) => {
            Err(usage(format!("there is no canteen {:?} yet; --currency CODE and --zone ZONE open it", terms.canteen)))
        }
    }
}

struct Dishes {
    rows: u64,
    dishes: Vec<Said>,
    bad: BadRows,
}

fn read(file: &Path, currency: Currency) -> anyhow::Result<Dishes> {
    let broken = |why: String| usage(format!("{}: {why}", file.display()));
    let mut table = Table::open(file, ',')?;
    let one = |column| table.column(column).map_err(broken);
    let (name, category, price) = (one("name")?, one("category")?, one("price")?);
    let maybe = |column| table.optional_column(column).map_err(broken);
    let (currency_code, tax_rate) = (maybe("currency")?, maybe("tax_rate")?);
    let places = Places { name, category, price, currency: currency_code, tax_rate };
    let mut dishes: Vec<Said> = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    let (mut rows, mut bad) = (0, BadRows::default());
    while let Some(row) = table.next().map_err(broken)? {
        rows += 1;
        let read =
            said(&row, &places, currency).and_then(|said| match lines.insert(said.dish.name.clone(), row.line) {
                None => Ok(said),
                Some(line) => Err(Fault::new("name", format!("{:?} is on line {line} already", said.dish.name))),
            });
        match read {
            Ok(said) => dishes.push(said),
            Err(why) => bad.add(row.line, None, &why),
        }
    }
    Ok(Dishes { rows, dishes, bad })
}

/// Where the columns are.
struct Places {
    name: usize,
    category: usize,
    price: usize,
    currency: Option<usize>,
    tax_rate: Option<usize>,
}

/// What a row says of a dish. Without a rate it says nothing of tax.
struct Said {
    dish: Dish,
    tax: Option<TaxRate>,
}

fn said(row: &Row<'_>, places: &Places, currency: Currency) -> Result<Said, Fault> {
    row.check()?;
    if let Some(column) = places.currency {
        let text = row.text("currency", column)?;
        let found: Currency = text.parse().map_err(|error| Fault::new("currency", format!("{error}")))?;
        if found != currency {
            return Err(Fault::new("currency", format!("{found}, but the canteen sells in {currency}")));
        }
    }
    let dish = Dish {
        name: row.text("name", places.name)?.to_owned(),
        category: row.text("category", places.category)?.to_owned(),
        price: price("price", row.text("price", places.price)?, currency)?,
        options: vec![],
        tax: TaxRate::ZERO,
    };
    dish.check(currency).map_err(|error| Fault::new("name", error.to_string()))?;
    let tax = places.tax_rate.map_or(Ok(None), |column| row.maybe("tax_rate", column))?;
    Ok(Said { dish, tax: tax.map(|text| tax_rate("tax_rate", text)).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dishes_are_read_and_bad_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dishes.csv");
        let text = "price,name,category\n12.50,红烧鱼,aquatic\n-1,Soup,soup\n3,红烧鱼,aquatic\n4,Tea\n5,Rice,staple\n";
        std::fs::write(&file, text).unwrap();
        let Dishes { rows, dishes, bad } = read(&file, Currency::CNY).unwrap();
        let names: Vec<_> = dishes.iter().map(|said| (said.dish.name.as_str(), said.dish.price.minor)).collect();
        assert_eq!((rows, names), (5, vec![("红烧鱼", 1_250), ("Rice", 500)]));
        let lines: Vec<_> = bad.rows.iter().map(|bad| bad.line).collect();
        assert_eq!((bad.bad_rows, lines), (3, vec![3, 4, 5]));
        assert!(bad.rows[1].reason.contains("on line 2 already"), "{}", bad.rows[1].reason);
    }

    #[test]
    fn a_row_may_name_its_tax_rate() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dishes.csv");
        let text = "name,category,price,tax_rate\nRice,staple,5,6\nTea,drink,4,\nCake,sweet,9,13.00\nPie,sweet,9,6%\n";
        std::fs::write(&file, text).unwrap();
        let Dishes { dishes, bad, .. } = read(&file, Currency::CNY).unwrap();
        let rates: Vec<_> = dishes.iter().map(|said| said.tax.map(|rate| rate.to_string())).collect();
        assert_eq!(rates, [Some("6".to_owned()), None, Some("13".to_owned())]);
        assert_eq!((bad.bad_rows, bad.rows[0].line), (1, 5));
        assert!(bad.rows[0].reason.contains("tax_rate"), "{}", bad.rows[0].reason);
    }
}
