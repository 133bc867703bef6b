//! Whose tokens a server takes.

use std::path::PathBuf;

use graphql::identity::{ClaimNames, Expected, JwksSource};
use serde::Deserialize;

use super::usage;

/// Longest issuer or audience, in bytes.
const MAX_NAME: usize = 512;

/// Whose tokens a serving command takes; over the settings file's `[tokens]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TokenArgs {
    /// Take the tokens of an issuer whose keys (a JSON Web Key Set) are there, and follow them as they
    /// change. Needs --issuer [default: the development key's tokens]
    #[arg(long, env = "TIFFIN_JWKS", hide_env_values = true, value_name = "URL|FILE")]
    pub jwks: Option<String>,
    /// The issuer that those tokens name (iss)
    #[arg(long, env = "TIFFIN_ISSUER", hide_env_values = true, value_name = "ISS")]
    pub issuer: Option<String>,
    /// The audience that those tokens name (aud) [default: tiffin]
    #[arg(long, env = "TIFFIN_AUDIENCE", hide_env_values = true, value_name = "AUD")]
    pub audience: Option<String>,
}

/// Which tokens a server takes, as it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// File with the Ed25519 public key (PEM) with which tokens must verify.
    pub public_key: Option<PathBuf>,
    /// File or URL with the issuer's keys. With this or `public_key`, the development key of the data
    /// folder is not accepted.
    pub jwks: Option<String>,
    /// The issuer (`iss`) that those tokens name; with `public_key` it is `tiffin` if it is not said.
    pub issuer: Option<String>,
    /// The audience (`aud`) that those tokens name; `tiffin` if it is not said.
    pub audience: Option<String>,
    /// How the issuer names claims that have other names with us.
    #[serde(default)]
    pub claims: ClaimNames,
}

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// Those that the data folder's own key signed.
    Development,
    /// Those that one key signed.
    Key(PathBuf, Expected),
    /// Those of an issuer that publishes its keys.
    Keys(JwksSource, Expected),
}

impl Tokens {
    /// With what a command was told over it.
    pub fn overlaid(self, args: TokenArgs) -> Tokens {
        Tokens {
            jwks: args.jwks.or(self.jwks),
            issuer: args.issuer.or(self.issuer),
            audience: args.audience.or(self.audience),
            ..self
        }
    }

    /// Whose tokens that means. An error where it cannot be meant: a server that trusts another issuer
    /// than its operator thinks is worse than none.
    pub fn trusted(&self) -> anyhow::Result<Trusted> {
        for (name, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.as_deref().is_some_and(|text| text.trim().is_empty() || text.len() > MAX_NAME) {
                return Err(usage(format!("the tokens' {name} is empty, or longer than {MAX_NAME} bytes")));
            }
        }
        let standard = Expected::default();
        let expected = Expected {
            issuer: self.issuer.clone().unwrap_or(standard.issuer),
            audience: self.audience.clone().unwrap_or(standard.audience),
            claims: self.claims.clone(),
        };
        match (&self.jwks, &self.public_key) {
            (Some(_), Some(_)) => Err(usage("tokens are checked with --jwks or with tokens.public_key, not with both")),
            (Some(_), None) if self.issuer.is_none() => {
                Err(usage("--jwks needs --issuer: the issuer (iss) that the tokens name"))
            }
            (Some(source), None) => Ok(Trusted::Keys(source.parse().map_err(|why: String| usage(why))?, expected)),
            (None, Some(file)) => Ok(Trusted::Key(file.clone(), expected)),
            (None, None) if expected != Expected::default() => {
                Err(usage("an issuer, an audience or names of claims say nothing without --jwks, the issuer's keys"))
            }
            (None, None) => Ok(Trusted::Development),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Usage;

    fn tokens(settings: &str) -> Tokens {
        toml::from_str(settings).unwrap()
    }

    fn refused(tokens: &Tokens) -> String {
        let error = tokens.trusted().expect_err("that cannot be meant");
        assert!(error.is::<Usage>());
        error.to_string()
    }

    #[test]
    fn without_another_issuer_the_development_key_is_trusted() {
        assert_eq!(Tokens::default().trusted().unwrap(), Trusted::Development);
    }

    #[test]
    fn flags_stand_over_the_settings_file() {
        let file = tokens("jwks = 'keys.json'\nissuer = 'a'\naudience = 'b'\n[claims]\nsub = 'id'");
        let args = TokenArgs { issuer: Some("c".into()), ..TokenArgs::default() };
        let Trusted::Keys(source, expected) = file.overlaid(args).trusted().unwrap() else {
            panic!("keys are followed")
        };
        assert_eq!(source, JwksSource::File("keys.json".into()));
        assert_eq!((expected.issuer.as_str(), expected.audience.as_str()), ("c", "b"));
        assert_eq!(expected.claims.sub.as_deref(), Some("id"));
        let Trusted::Key(_, expected) = tokens("public_key = 'k.pem'").trusted().unwrap() else { panic!("one key") };
        assert_eq!(expected, Expected::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(refused(&tokens("jwks = 'k.json'")).contains("--issuer"));
        assert!(refused(&tokens("jwks = 'k.json'\nissuer = 'a'\npublic_key = 'k.pem'")).contains("not with both"));
        assert!(refused(&tokens("jwks = 'http://a.example/'\nissuer = 'a'")).contains("https"));
        assert!(refused(&tokens("issuer = 'a'")).contains("--jwks"));
        assert!(refused(&tokens("audience = 'a'")).contains("--jwks"));
        assert!(refused(&tokens("[claims]\nsub = 'id'")).contains("--jwks"));
        assert!(refused(&tokens("jwks = 'k.json'\nissuer = ' '")).contains("empty"));
        assert!(toml::from_str::<Tokens>("[claims]\nname = 'x'").is_err());
    }
}
