//! What callers may cost, and how the service meets browsers.

use graphql::{Edge, HttpLimits, Introspection, Origin, Rate};
use serde::Deserialize;

use super::usage;

/// Least that a bucket must hold: the dearest document that is taken at all.
const LEAST_BURST: u64 = 20_000;
/// Most of either figure.
const MOST: u64 = 1_000_000_000_000;
/// Most sites that may ask.
const MAX_ORIGINS: usize = 50;

/// What callers may cost and which sites may ask; over the settings file's `[http]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DoorArgs {
    /// What each caller may cost at once, in the cost that answers show [default: 1000000]
    #[arg(long, env = "TIFFIN_COST_BURST", hide_env_values = true, value_name = "COST")]
    pub cost_burst: Option<u64>,
    /// What each caller may cost per second in the long run [default: 50000]
    #[arg(long, env = "TIFFIN_COST_RATE", hide_env_values = true, value_name = "COST")]
    pub cost_rate: Option<u64>,
    /// A site whose pages may ask, such as https://lunch.example; may be repeated [default: none]
    #[arg(long, env = "TIFFIN_ALLOW_ORIGIN", hide_env_values = true, value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
    /// Do not tell the schema to anybody
    #[arg(long, env = "TIFFIN_NO_INTROSPECTION", hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new())]
    pub no_introspection: bool,
}

/// The same as it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    pub cost_burst: Option<u64>,
    pub cost_rate: Option<u64>,
    pub allow_origin: Vec<String>,
    /// Whether the schema is told; it is, if it is not said.
    pub introspection: Option<bool>,
}

impl Door {
    /// With what a command was told over it.
    pub fn overlaid(self, args: DoorArgs) -> Door {
        Door {
            cost_burst: args.cost_burst.or(self.cost_burst),
            cost_rate: args.cost_rate.or(self.cost_rate),
            allow_origin: if args.allow_origin.is_empty() { self.allow_origin } else { args.allow_origin },
            introspection: if args.no_introspection { Some(false) } else { self.introspection },
        }
    }

    /// Limits of requests.
    pub fn limits(&self) -> anyhow::Result<HttpLimits> {
        let standard = Rate::default();
        let rate = Rate {
            burst: self.cost_burst.unwrap_or(standard.burst),
            per_second: self.cost_rate.unwrap_or(standard.per_second),
        };
        if !(LEAST_BURST..=MOST).contains(&rate.burst) {
            return Err(usage(format!("--cost-burst is {LEAST_BURST} to {MOST}: the dearest document must fit")));
        }
        if !(1..=MOST).contains(&rate.per_second) {
            return Err(usage(format!("--cost-rate is 1 to {MOST}")));
        }
        Ok(HttpLimits { rate, ..HttpLimits::default() })
    }

    /// How the service meets browsers.
    pub fn edge(&self) -> anyhow::Result<Edge> {
        if self.allow_origin.len() > MAX_ORIGINS {
            return Err(usage(format!("at most {MAX_ORIGINS} origins may ask")));
        }
        let origins = self.allow_origin.iter().map(|text| text.trim().parse::<Origin>());
        let origins = origins.collect::<Result<_, _>>().map_err(|why| usage(format!("--allow-origin: {why}")))?;
        let introspection = if self.introspection == Some(false) { Introspection::Closed } else { Introspection::Open };
        Ok(Edge { introspection, origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Usage;

    fn door(settings: &str) -> Door {
        toml::from_str(settings).unwrap()
    }

    #[test]
    fn flags_stand_over_the_settings_file() {
        let file =
            door("cost_burst = 30000\ncost_rate = 7\nallow_origin = ['https://a.example']\nintrospection = true");
        assert_eq!(file.limits().unwrap().rate, Rate { burst: 30_000, per_second: 7 });
        assert_eq!(file.edge().unwrap().introspection, Introspection::Open);
        let args = DoorArgs {
            cost_rate: Some(9),
            allow_origin: vec!["https://b.example".into()],
            no_introspection: true,
            ..DoorArgs::default()
        };
        let both = file.overlaid(args);
        assert_eq!(both.limits().unwrap().rate, Rate { burst: 30_000, per_second: 9 });
        let edge = both.edge().unwrap();
        assert_eq!(
            (edge.introspection, edge.origins),
            (Introspection::Closed, vec!["https://b.example".parse().unwrap()])
        );
        assert_eq!(Door::default().limits().unwrap().rate, Rate::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in ["cost_burst = 19999", "cost_rate = 0", "cost_burst = 9000000000000"] {
            assert!(door(wrong).limits().unwrap_err().is::<Usage>(), "{wrong}");
        }
        for wrong in ["allow_origin = ['*']", "allow_origin = ['https://a.example/']"] {
            assert!(door(wrong).edge().unwrap_err().is::<Usage>(), "{wrong}");
        }
        assert!(toml::from_str::<Door>("allow_origins = []").is_err());
    }
}
