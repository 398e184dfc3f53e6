//! What was found once stays found: each file in `testdata/scenarios` is run with its seeds.

use std::path::Path;

use mews_sim::scenario;

#[test]
fn kept_scenarios_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios");
    let mut run = 0;
    for entry in std::fs::read_dir(folder).expect("the scenarios are in the repository") {
        let path = entry.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let kept = scenario::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for seed in kept.seeds {
            let report = kept.setup.run(seed);
            assert!(report.wrong.is_empty(), "{path:?}, seed {seed}: {}", report.wrong.join("\n"));
            run += 1;
        }
    }
    assert!(run > 0, "no scenario was run");
}
