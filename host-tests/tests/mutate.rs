//! Mutants of policies: what cases notice, and what they don't.

use std::fs;
use std::path::{Path, PathBuf};

use scrim::mutate::run::{Fate, Judged, Plan, count, run};
use scrim::wasm::Wasmtime;

const POLICY: &str = r#"version: 1
policies:
  used:
    cache_control: {class: phi}
    response_trim: {views: [{deny: ["$.ssn", "$.photo"]}]}
  unused: {cache_control: {class: phi}}
routes:
  - match: {path_prefix: /a/}
    policy: used
  - match: {path_prefix: /b/}
    policy: unused
default: deny
"#;

const CASES: &str = r#"policy: ../policy.yaml
cases:
  - name: trimmed, and nothing is said of caches
    request: {url: /a/1}
    upstream: {json: {id: 1, ssn: 2}}
    expect: {status: 200, json: {id: 1}}
"#;

/// A folder with the policy and one case file, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, cases: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutate-{name}"));
        fs::create_dir_all(folder.join("cases")).unwrap();
        fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        fs::write(folder.join("cases/one.yaml"), cases).unwrap();
        Self(folder)
    }

    fn run(&self) -> anyhow::Result<Vec<Judged>> {
        let plan = Plan {
            paths: vec![self.0.join("cases")],
            rule: None,
            jobs: 2,
            modules: Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"),
        };
        run(&plan, &Wasmtime::new()?, &|_, _, _| {})
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fate(judged: &[Judged], rule: &str, change: &str) -> Fate {
    let found = judged.iter().find(|one| one.rule == rule && one.change == change);
    found
        .unwrap_or_else(|| panic!("no `{rule}` {change} in {judged:#?}"))
        .fate
        .clone()
}

#[test]
fn each_mutant_gets_the_fate_that_cases_give_it() {
    let judged = Folder::new("fates", CASES).run().unwrap();
    let used = |rule: &str| format!("policies.used.{rule}");
    let caught = fate(&judged, &used("response_trim.views[0].deny[0]"), "dropped");
    assert!(
        matches!(&caught, Fate::Caught { by } if by.contains("trimmed")),
        "{caught:?}"
    );
    // Nothing says what a cache may do.
    let class = "`phi` became `public`";
    assert_eq!(fate(&judged, &used("cache_control.class"), class), Fate::Unasserted);
    assert_eq!(fate(&judged, &used("cache_control"), "dropped"), Fate::Unasserted);
    // No body has a photo, no request goes to the other policy.
    let photo = used("response_trim.views[0].deny[1]");
    assert_eq!(fate(&judged, &photo, "dropped"), Fate::Unexercised);
    assert_eq!(
        fate(&judged, "policies.unused.cache_control.class", class),
        Fate::Unexercised
    );
    assert_eq!(fate(&judged, "routes[1]", "dropped"), Fate::Unexercised);
    assert_eq!(fate(&judged, "default", "`deny` became `allow`"), Fate::Unexercised);
    // Places of rules move when a route goes: that alone is no other outcome.
    assert_eq!(fate(&judged, "routes[0]", "put behind the next"), Fate::Unexercised);
    assert!(matches!(fate(&judged, "routes[0]", "dropped"), Fate::Caught { .. }));
    let [caught, unasserted, unexercised] = count(&judged);
    assert_eq!(caught + unasserted + unexercised, judged.len());
    let place = judged.iter().find(|one| one.rule == photo).unwrap();
    assert_eq!((place.line, place.column), (5, 46));
}

#[test]
fn cases_that_fail_by_themselves_are_told_instead() {
    let folder = Folder::new("failing", &CASES.replace("status: 200", "status: 404"));
    let error = folder.run().unwrap_err().to_string();
    assert!(
        error.contains("fail without any mutant") && error.contains("trimmed"),
        "{error}"
    );
}
