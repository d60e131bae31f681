//! The suite proves itself on the model: what it asks for is what the model does.

mod modelled;

use modelled::Modelled;

acclaim_testkit::conformance_suite!(Modelled);

/// The same in partitions, each of which gives revs of its own.
mod in_partitions {
    use super::modelled::Partitioned;

    acclaim_testkit::conformance_suite!(Partitioned);
}

/// A case that the macro does not name would never run.
#[test]
fn every_case_is_in_the_macro() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance");
    let list = std::fs::read_to_string(format!("{folder}/mod.rs")).unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in source.lines() {
            let case = line.strip_prefix("pub async fn ");
            let case = case.filter(|rest| rest.contains("stage: Stage)"));
            if let Some((name, _)) = case.and_then(|rest| rest.split_once('(')) {
                assert!(
                    list.contains(&format!("{name},")),
                    "{name} is not in the macro"
                );
            }
        }
    }
}
