//! Memory that was freed goes back to the system.

/// Starts the program anew, in this very process, with the thresholds of glibc's allocator fixed; returns in the new
/// one, or where there is no glibc.
///
/// With every large block that is freed glibc raises the size from which it maps blocks apart, up to 32 MB, and keeps
/// what is smaller in its heaps, of which each core has eight. A worker that had looked into some pictures held 296 MB at
/// rest and 563 MB at most; with fixed thresholds 12 MB and 311 MB. They are read when a process starts, and from the
/// environment alone.
pub(crate) fn give_back_what_is_freed() {
    #[cfg(target_env = "gnu")]
    start_anew();
}

#[cfg(target_env = "gnu")]
fn start_anew() {
    use std::os::unix::process::CommandExt;

    const SETTINGS: [(&str, &str); 3] = [
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_ARENA_MAX", "4"),
    ];
    // Set by whoever started it, or by us.
    if SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let mut command = std::process::Command::new(program);
        let error = command.arg0(name).args(arguments).envs(SETTINGS).exec();
        // As when the file was replaced: the memory is not worth not to start.
        tracing::debug!(%error, "the allocator keeps its own thresholds");
    }
}
