use super::*;

fn deployment(model: &str) -> DeploymentConfig {
    DeploymentConfig { provider: "p".into(), model: model.into(), ..DeploymentConfig::default() }
}

fn config(groups: &[(&str, &[&str])]) -> Config {
    let group = |(name, models): &(&str, &[&str])| GroupConfig {
        name: (*name).into(),
        deployments: models.iter().map(|model| deployment(model)).collect(),
        is_embedding: false,
    };
    Config { groups: groups.iter().map(group).collect(), ..Config::default() }
}

fn list(pairs: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    pairs.iter().map(|(from, to)| ((*from).to_owned(), strings(to))).collect()
}

fn error(config: &Config) -> String {
    let error = config.compile().unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::InvalidArgument);
    error.message
}

#[test]
fn names_become_indices() {
    let mut config = config(&[("fast", &["a", "a", "b"]), ("smart", &["c"])]);
    config.fallbacks = list(&[("fast", &["smart", "smart"])]);
    config.groups[0].deployments[1].quota_group = Some("east".into());
    config.groups[0].deployments[2].quota_group = Some("east".into());
    let plan = config.compile().unwrap();
    let names: Vec<&str> = plan.deployments.iter().map(|deployment| &*deployment.name).collect();
    assert_eq!(names, ["p/a", "p/a#2", "p/b", "p/c"]);
    assert_eq!(plan.groups[0].fallbacks[0].groups, [1]);
    assert!(plan.groups[1].fallbacks[0].is_declared && !plan.groups[1].fallbacks[1].is_declared);
    let quota_groups: Vec<usize> = plan.deployments.iter().map(|deployment| deployment.quota_group).collect();
    assert_eq!(quota_groups, [0, 1, 1, 2]);
    assert_eq!(plan.quota_groups, ["p/a", "east", "p/c"]);
    assert_eq!(plan.accounts, ["p"]);
    assert_eq!((plan.group("smart"), plan.deployment("p/c"), plan.group("none")), (Some(1), Some(3), None));
    assert_eq!(plan.max_wait, Some(Duration::from_secs(60)));
}

#[test]
fn an_unknown_strategy_is_told_its_neighbour() {
    let mut config = config(&[("fast", &["a"])]);
    config.strategy = Some("least-busy".into());
    assert_eq!(
        error(&config),
        "strategy must be a function or one of weighted, least_busy, latency, usage, cost, ordered, affinity, not \
         \"least-busy\"; did you mean \"least_busy\"?"
    );
    config.strategy = Some("random".into());
    assert!(!error(&config).contains("did you mean"));
    for (name, kind) in STRATEGIES {
        config.strategy = Some(name.into());
        assert_eq!(config.compile().unwrap().strategy, kind);
    }
}

#[test]
fn groups_do_not_fall_back_to_themselves() {
    let groups: [(&str, &[&str]); 4] = [("a", &["1"]), ("b", &["2"]), ("c", &["3"]), ("d", &["4"])];
    let mut config = config(&groups);
    config.context_window_fallbacks = list(&[("a", &["a"])]);
    assert_eq!(error(&config), "context_window_fallbacks: the group \"a\" falls back to itself");
    config.context_window_fallbacks = Vec::new();
    config.fallbacks = list(&[("d", &["a"]), ("a", &["b"]), ("b", &["d", "c"]), ("c", &["a"])]);
    assert_eq!(error(&config), "fallbacks: the group \"a\" falls back to itself (a → b → d → a)");
    config.allow_circles = true;
    assert!(config.compile().is_ok());
    // Two ways to the same group are no circle.
    config.allow_circles = false;
    config.fallbacks = list(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])]);
    assert!(config.compile().is_ok());
}

#[test]
fn fallbacks_name_groups() {
    let mut config = config(&[("fast", &["a"]), ("smart", &["b"])]);
    config.content_policy_fallbacks = list(&[("fast", &["smrt"])]);
    assert_eq!(
        error(&config),
        "content_policy_fallbacks names \"smrt\", which is no group; did you mean \"smart\"? (groups: fast, smart)"
    );
    config.content_policy_fallbacks = list(&[("absent", &["smart"])]);
    assert!(error(&config).starts_with("content_policy_fallbacks names \"absent\""));
    config.content_policy_fallbacks = list(&[("fast", &[])]);
    assert!(error(&config).contains("must name at least one group"));
}

#[test]
fn groups_have_deployments_and_names() {
    assert!(error(&Config::default()).contains("at least one group"));
    assert!(error(&config(&[("fast", &[])])).contains("groups[\"fast\"] must have at least one deployment"));
    assert!(error(&config(&[("", &["a"])])).contains("name is empty"));
    assert!(error(&config(&[("a", &["a"]), ("a", &["b"])])).contains("two groups named \"a\""));
    let mut config = config(&[("a", &["x", "y"])]);
    config.groups[0].deployments.iter_mut().for_each(|deployment| deployment.name = Some("same".into()));
    assert!(error(&config).contains("two deployments named \"same\""));
}

#[test]
fn numbers_are_in_their_ranges() {
    let with = |change: fn(&mut Config)| {
        let mut config = config(&[("fast", &["a", "b"])]);
        change(&mut config);
        error(&config)
    };
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut config = config(&[("fast", &["a", "b"])]);
        config.groups[0].deployments[1].weight = Some(weight);
        assert_eq!(error(&config), format!("groups[\"fast\"][1].weight must be more than 0, not {weight}"));
    }
    assert!(with(|config| config.max_wait = Some(-1.0)).starts_with("max_wait must be a number of seconds"));
    assert!(with(|config| config.max_wait = Some(f64::NAN)).starts_with("max_wait"));
    assert!(with(|config| config.attempt_timeout = Some(0.0)).starts_with("attempt_timeout must be more than 0 s"));
    assert!(
        with(|config| config.hedge = Some(Hedge { after: HedgeAfter::Quantile(0.9), budget: 0.0 })).contains("budget")
    );
    assert!(
        with(|config| config.hedge = Some(Hedge { after: HedgeAfter::Time(Duration::ZERO), budget: 0.1 }))
            .contains("after")
    );
    assert!(with(|config| config.breaker.failures = 0).starts_with("breaker.failures"));
    assert!(with(|config| config.breaker.share = 1.5).starts_with("breaker.share"));
    assert!(with(|config| config.breaker.window = 0.0).starts_with("breaker.window"));
    assert!(with(|config| config.affinity.max_load = 1.0).starts_with("affinity.max_load"));
}

#[test]
fn embeddings_stay_with_their_model() {
    let mut config = config(&[("vectors", &["small", "small"]), ("same", &["small"]), ("other", &["large"])]);
    config.groups[0].is_embedding = true;
    config.fallbacks = list(&[("vectors", &["same"])]);
    assert!(config.compile().is_ok());
    config.fallbacks = list(&[("vectors", &["other"])]);
    assert_eq!(
        error(&config),
        "fallbacks: the embeddings of the group \"vectors\" (small) must not fall back to another model (large in the \
         group \"other\"): their vectors do not mix"
    );
    config.fallbacks = Vec::new();
    config.groups[0].deployments[1].model = "large".into();
    assert!(error(&config).contains("embeds with two models (small and large)"));
    // Deployed by another name.
    config.groups[0].deployments[1].base_model = Some("small".into());
    assert!(config.compile().is_ok());
}

#[test]
fn quantiles_are_read() {
    assert_eq!(Hedge::quantile("p95", None).unwrap(), Hedge { after: HedgeAfter::Quantile(0.95), budget: 0.05 });
    assert_eq!(Hedge::quantile("p99.9", Some(0.1)).unwrap().budget, 0.1);
    for wrong in ["95", "p0", "p100", "p", "pNaN", ""] {
        assert!(Hedge::quantile(wrong, None).unwrap_err().message.contains(&format!("not {wrong:?}")), "{wrong}");
    }
}
