//! Finds the PostgreSQL server programs of the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{OLDEST_MAJOR, StartError};

/// A directory with `postgres` and `initdb`, and their version as `server_version_num` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) version: u32,
}

impl Binaries {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Asks the server program in `dir` for its version; `None` when there is none that runs.
    fn probe(dir: &Path) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self {
            dir: dir.to_owned(),
            version,
        })
    }
}

/// The binaries to run: those in `bin_dir` if given, else the first found on the host. An existing `cluster`
/// (its directory and major version) takes only binaries of its own major version.
pub(crate) fn find(bin_dir: Option<&Path>, cluster: Option<(&Path, u32)>) -> Result<Binaries, StartError> {
    // Absolute, because programs are started in the root directory.
    let given = bin_dir.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()));
    let dirs = given.map_or_else(host_dirs, |dir| vec![dir]);
    let found = dirs.iter().filter_map(|dir| Binaries::probe(dir));
    choose(found, cluster).map_err(|error| match (error, bin_dir) {
        (StartError::NotFound, Some(dir)) => StartError::NotIn { dir: dir.to_owned() },
        (error, _) => error,
    })
}

/// Takes from `found` no more than it needs, because each look starts a program.
fn choose(
    found: impl Iterator<Item = Binaries>,
    cluster: Option<(&Path, u32)>,
) -> Result<Binaries, StartError> {
    let mut unfit: Option<Binaries> = None;
    for binaries in found {
        let fits =
            binaries.major() >= OLDEST_MAJOR && cluster.is_none_or(|(_, major)| major == binaries.major());
        if fits {
            return Ok(binaries);
        }
        if unfit
            .as_ref()
            .is_none_or(|newest| newest.version < binaries.version)
        {
            unfit = Some(binaries);
        }
    }
    let newest = unfit.ok_or(StartError::NotFound)?;
    let installed = newest.major();
    if installed < OLDEST_MAJOR {
        let found = format!("{installed}.{}", newest.version % 10_000);
        return Err(StartError::TooOld {
            found,
            dir: newest.dir,
        });
    }
    // Without a cluster every version from the oldest supported on fits.
    let (dir, cluster) = cluster
        .map(|(dir, major)| (dir.to_owned(), major))
        .ok_or(StartError::NotFound)?;
    Err(if cluster > installed {
        StartError::NewerCluster {
            dir,
            cluster,
            installed,
        }
    } else {
        StartError::OlderCluster {
            dir,
            cluster,
            installed,
        }
    })
}

/// Where distributions put the server, in the order of preference.
fn host_dirs() -> Vec<PathBuf> {
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut dirs: Vec<PathBuf> = configured.into_iter().collect();
    dirs.extend(versioned("/usr/lib/postgresql", "", "bin"));
    dirs.extend(versioned("/usr", "pgsql-", "bin"));
    dirs.extend(versioned("/opt/homebrew/opt", "postgresql@", "bin"));
    dirs.push(PathBuf::from("/usr/local/pgsql/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    dirs.extend(std::env::split_paths(&path));
    dirs.retain(|dir| dir.is_absolute());
    dirs
}

/// The directories `root/<prefix><number>/<below>`, highest number first.
fn versioned(root: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let mut majors: Vec<u32> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()
        })
        .collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors
        .iter()
        .map(|major| Path::new(root).join(format!("{prefix}{major}")).join(below))
        .collect()
}

/// `postgres (PostgreSQL) 15.20 (Debian …)` is 150020; a beta or release candidate counts as its major version.
fn parse_version(output: &str) -> Option<u32> {
    let version = output.strip_prefix("postgres (PostgreSQL) ")?;
    let digits = |text: &str| -> String { text.chars().take_while(char::is_ascii_digit).collect() };
    let major = digits(version);
    let minor = version[major.len()..]
        .strip_prefix('.')
        .map(digits)
        .unwrap_or_default();
    Some(major.parse::<u32>().ok()? * 10_000 + minor.parse::<u32>().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(versions: &[u32]) -> impl Iterator<Item = Binaries> {
        versions.iter().map(|&version| Binaries {
            dir: PathBuf::from("/bin"),
            version,
        })
    }

    #[test]
    fn reads_versions_of_all_shapes() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.20 (Debian 15.20-1)\n"),
            Some(150_020)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24\n"), Some(90_006));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), Some(190_000));
        assert_eq!(parse_version("postgres (EnterpriseDB) 15.1\n"), None);
    }

    #[test]
    fn the_first_supported_version_is_taken() {
        let chosen = choose(installed(&[140_009, 160_003, 170_001]), None).expect("16 is supported");
        assert_eq!(chosen.version, 160_003);
    }

    #[test]
    fn a_cluster_takes_its_own_major_version() {
        let chosen =
            choose(installed(&[170_001, 160_003]), Some((Path::new("/d"), 16))).expect("16 is there");
        assert_eq!(chosen.version, 160_003);
    }

    #[test]
    fn too_old_names_the_version_found() {
        let error = choose(installed(&[130_001, 140_009]), None).expect_err("14 is too old");
        assert!(
            matches!(&error, StartError::TooOld { found, .. } if found == "14.9"),
            "{error}"
        );
    }

    #[test]
    fn a_cluster_of_another_major_version_is_refused() {
        let newer = choose(installed(&[150_020]), Some((Path::new("/d"), 18)));
        assert!(
            matches!(
                newer,
                Err(StartError::NewerCluster {
                    cluster: 18,
                    installed: 15,
                    ..
                })
            ),
            "{newer:?}"
        );
        let older = choose(installed(&[180_001]), Some((Path::new("/d"), 15)));
        assert!(
            matches!(
                older,
                Err(StartError::OlderCluster {
                    cluster: 15,
                    installed: 18,
                    ..
                })
            ),
            "{older:?}"
        );
    }

    #[test]
    fn nothing_installed_says_what_to_install() {
        let error = choose(installed(&[]), None).expect_err("nothing there");
        assert!(error.to_string().contains("apt install postgresql-15"), "{error}");
    }
}
