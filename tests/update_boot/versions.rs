//! The order of versions and the names of files.

use super::*;

/// Versions as kernels have them, and worse, but without numbers such as 07: no kernel has
/// them, and the plan and the program order them differently.
fn versions() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        "[1-9]\\.(0|[1-9][0-9]?)(\\.(0|[1-9][0-9]{0,2}))?(-(0|[1-9][0-9]?))?(-amd64|-cloud-amd64|-virt|-rc[1-9])?",
        "[1-9][0-9]?([.+~^_-](0|[1-9][0-9]{0,2}|[a-z]{1,3}[1-9]?)){0,4}",
    ];
    proptest::collection::vec(one, 1..8).prop_map(|mut all| {
        // Versions that map to the same file name cannot share an ESP.
        let mut names = std::collections::BTreeSet::new();
        all.retain(|v| names.insert(v.replace(['~', '^'], "-")));
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of versions, which initrd belongs to which kernel, names of files: all as the
    /// plan has it.
    #[test]
    fn finds_what_the_plan_finds(names in versions(), links in any::<bool>()) {
        for shell in &shells() {
            let mut machine = debian(&["5.0"]);
            for (v, n) in names.iter().zip(1000..) {
                // Without a folder of modules for some, and one without an initrd.
                machine.add(&format!("/boot/vmlinuz-{v}"), kib(1, n));
                if n % 5 != 4 {
                    machine.add(&format!("/boot/initrd.img-{v}"), kib(1, n + 1));
                }
                if n % 3 != 0 {
                    machine.add(&format!("/usr/lib/modules/{v}/modules.dep"), kib(1, n + 2));
                }
                if links {
                    link(&mut machine, v);
                }
            }
            machine.run(shell, ROOMY);
            machine.is_in_step(shell);
        }
    }
}
