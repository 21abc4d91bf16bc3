//! Which quotas the declared limits give a model.

use super::spec::QuotaSpec;

/// A declaration: the models that it is for, and their limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Models that the rule is for.
    pub pattern: Pattern,
    /// Limits of each of its quotas.
    pub spec: QuotaSpec,
}

/// The models that a rule is for, and whether they share a quota.
///
/// `"openai"` is one quota for all models of the provider, `"openai/*"` one for each model, `"openai/gpt-4o"` that of one
/// model, and `"openai/gpt-4o*"` one for each model whose name begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Name of the provider; `None` for all.
    provider: Option<String>,
    /// Name of the model, or its beginning if `is_prefix`; `None` if all models share the quota.
    model: Option<String>,
    is_prefix: bool,
}

/// Calls that a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The calls of one model.
    Model,
    /// The calls of all models of one account.
    Account,
}

impl Pattern {
    /// Parses a pattern. `provider` returns the provider's own name for a name or an alias of it.
    ///
    /// # Errors
    ///
    /// A sentence that says what would be right.
    pub fn parse(text: &str, provider: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let (name, model) = match text.split_once('/') {
            Some((name, model)) => (name, Some(model)),
            None => (text, None),
        };
        const RIGHT: &str = "\"openai\" (one quota for all its models), \"openai/*\" (one for each), \"openai/gpt-4o\" or \
                             \"openai/gpt-4o*\" would be right";
        let known = match name {
            "*" => None,
            name => Some(provider(name).ok_or_else(|| format!("{text:?} names no known provider: {RIGHT}"))?),
        };
        let (model, is_prefix) = match model {
            None => (None, false),
            Some("") => return Err(format!("{text:?} names no model: {RIGHT}")),
            Some(model) => match model.split_once('*') {
                None => (Some(model.to_owned()), false),
                Some((prefix, "")) => (Some(prefix.to_owned()), true),
                Some(_) => return Err(format!("{text:?} has a * before its end: {RIGHT}")),
            },
        };
        Ok(Self { provider: known, model, is_prefix })
    }

    /// Returns what the quota of a model counts, or `None` if the pattern is not for this model.
    pub fn scope(&self, provider: &str, model: &str) -> Option<Scope> {
        if self.provider.as_deref().is_some_and(|name| name != provider) {
            return None;
        }
        match &self.model {
            None => Some(Scope::Account),
            Some(prefix) if self.is_prefix && model.starts_with(prefix.as_str()) => Some(Scope::Model),
            Some(name) if !self.is_prefix && model == name => Some(Scope::Model),
            Some(_) => None,
        }
    }
}

/// The limits of a client.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The declarations, in their order.
    pub rules: Vec<Rule>,
    /// True if the limits of each model for which no window is declared are learnt.
    pub adaptive: bool,
    /// Part of a budget that bulk calls get while interactive calls wait, from 0 to 1.
    pub bulk_share: f64,
}

impl Rules {
    /// Returns the declared limits of a model's quotas: of the quota of its own, and of the one that all models of the account
    /// share. Each is `None` if there is none.
    ///
    /// Where several rules are for the same quota, all of their limits hold: the stricter wins.
    pub fn specs(&self, provider: &str, model: &str) -> (Option<QuotaSpec>, Option<QuotaSpec>) {
        let (mut of_model, mut of_account) = (None, None);
        for Rule { pattern, spec } in &self.rules {
            let found = match pattern.scope(provider, model) {
                Some(Scope::Model) => &mut of_model,
                Some(Scope::Account) => &mut of_account,
                None => continue,
            };
            found.get_or_insert_with(|| QuotaSpec { bulk_share: self.bulk_share, ..QuotaSpec::default() }).add(spec);
        }
        let is_told = |spec: &Option<QuotaSpec>| spec.as_ref().is_some_and(|spec| !spec.limits.is_empty());
        if self.adaptive && !is_told(&of_model) && !is_told(&of_account) {
            let learnt = || QuotaSpec { bulk_share: self.bulk_share, ..QuotaSpec::default() };
            of_model.get_or_insert_with(learnt).adaptive = true;
        }
        (of_model, of_account)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::spec::Limit;
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, |name| ["openai", "mistral"].contains(&name).then(|| name.to_owned())).unwrap()
    }

    fn per_minute(requests: u64) -> QuotaSpec {
        QuotaSpec {
            limits: vec![Limit { requests: Some(requests), ..Limit::per(Duration::from_secs(60)) }],
            ..QuotaSpec::default()
        }
    }

    #[test]
    fn a_pattern_says_what_its_quota_counts() {
        let scope = |text: &str, provider: &str, model: &str| pattern(text).scope(provider, model);
        assert_eq!(scope("openai", "openai", "gpt-4o"), Some(Scope::Account));
        assert_eq!(scope("openai", "mistral", "gpt-4o"), None);
        assert_eq!(scope("openai/*", "openai", "gpt-4o"), Some(Scope::Model));
        assert_eq!(scope("openai/gpt-4o", "openai", "gpt-4o"), Some(Scope::Model));
        assert_eq!(scope("openai/gpt-4o", "openai", "gpt-4o-mini"), None);
        assert_eq!(scope("openai/gpt-4o*", "openai", "gpt-4o-mini"), Some(Scope::Model));
        assert_eq!(scope("*", "mistral", "m"), Some(Scope::Account));
        assert_eq!(scope("*/*", "mistral", "m"), Some(Scope::Model));
        assert_eq!(scope("openai/ft:a/b", "openai", "ft:a/b"), Some(Scope::Model));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let refused =
            |text: &str| Pattern::parse(text, |name| (name == "openai").then(|| name.to_owned())).unwrap_err();
        assert!(refused("opnai/gpt-4o").contains("no known provider"));
        assert!(refused("openai/").contains("names no model"));
        assert!(refused("openai/*mini").contains("before its end"));
        assert!(refused("").contains("no known provider"));
    }

    #[test]
    fn every_rule_for_a_quota_holds() {
        let rules = Rules {
            rules: vec![
                Rule {
                    pattern: pattern("openai"),
                    spec: QuotaSpec { max_in_flight: Some(64), ..QuotaSpec::default() },
                },
                Rule { pattern: pattern("openai/*"), spec: per_minute(500) },
                Rule {
                    pattern: pattern("openai/gpt-4o"),
                    spec: QuotaSpec { max_in_flight: Some(8), ..per_minute(100) },
                },
            ],
            adaptive: true,
            bulk_share: 0.05,
        };
        let (of_model, of_account) = rules.specs("openai", "gpt-4o");
        let (of_model, of_account) = (of_model.unwrap(), of_account.unwrap());
        assert_eq!(of_account.max_in_flight, Some(64));
        assert_eq!(of_model.limits.iter().map(|limit| limit.requests).collect::<Vec<_>>(), [Some(500), Some(100)]);
        assert_eq!((of_model.max_in_flight, of_model.adaptive, of_model.bulk_share), (Some(8), false, 0.05));
        // Only what nothing is declared for is learnt.
        let (of_model, of_account) = rules.specs("mistral", "m");
        assert!(of_model.unwrap().adaptive && of_account.is_none());
        assert_eq!(Rules::default().specs("openai", "gpt-4o"), (None, None));
    }
}
