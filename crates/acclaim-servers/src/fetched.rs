//! Where `.ci/servers` keeps the programs that no package of the system has.

use std::path::PathBuf;

/// The directory: `$ACCLAIM_TEST_SERVERS`, by default below the user's cache.
pub fn directory() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let servers = variable("ACCLAIM_TEST_SERVERS").map(PathBuf::from);
    let cache = || {
        let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
        variable("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
    };
    servers.unwrap_or_else(|| cache().join("acclaim-test-servers"))
}
