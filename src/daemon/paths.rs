//! Where the daemon's files are when nobody says otherwise. The only place that reads the environment for it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The default places of one daemon: the system's for root, XDG's for an ordinary user, or all below one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file, `dayfly.toml`.
    pub config: PathBuf,
    /// The socket that every process may open.
    pub workload_socket: PathBuf,
    /// The socket of the daemon's own user.
    pub admin_socket: PathBuf,
    /// The socket on which every process may ask for access tokens over HTTP/1.1.
    pub http_socket: PathBuf,
    /// The socket on which proxies have access tokens verified.
    pub authz_socket: PathBuf,
    /// The folder of the database, the keys and the audit log.
    pub state_dir: PathBuf,
}

/// Why no default place is known.
#[derive(Debug, Error)]
pub enum PathsError {
    /// An ordinary user needs a home for state and configuration.
    #[error("HOME is not set, so there is no place for state")]
    HomeMissing,
    /// The folder given cannot be made absolute.
    #[error("the folder {path:?} cannot be used")]
    HomeUnusable {
        /// The folder as it was given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Paths {
    /// The places for this process: `home` (of `--home`) first, then `DAYFLY_HOME`, then those of its user.
    ///
    /// # Errors
    /// When an ordinary user has no `HOME`, or the folder is empty.
    pub fn of_process(home: Option<&Path>) -> Result<Self, PathsError> {
        Self::choose(home, |name| env::var_os(name), nix::unistd::geteuid().as_raw())
    }

    /// As [`Paths::of_process`], with the environment and the effective uid as arguments.
    ///
    /// # Errors
    /// As [`Paths::of_process`].
    pub fn choose(home: Option<&Path>, env: impl Fn(&str) -> Option<OsString>, uid: u32) -> Result<Self, PathsError> {
        let named = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = home.map(Path::to_path_buf).or_else(|| named("DAYFLY_HOME")) {
            return std::path::absolute(&home)
                .map(|whole| Self::below(&whole))
                .map_err(|source| PathsError::HomeUnusable { path: home, source });
        }
        if uid == 0 {
            return Ok(Self::system());
        }
        // A relative path in one of these is to be ignored (XDG Base Directory Specification, 0.8).
        let xdg = |name| named(name).filter(|path| path.is_absolute());
        let in_home = |below| xdg("HOME").map(|home| home.join(below)).ok_or(PathsError::HomeMissing);
        let config = xdg("XDG_CONFIG_HOME").map_or_else(|| in_home(".config"), Ok)?.join("dayfly");
        let state = xdg("XDG_STATE_HOME").map_or_else(|| in_home(".local/state"), Ok)?.join("dayfly");
        // Without a runtime folder the state's own is used: a name under /tmp could be taken by somebody else.
        let run = xdg("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |run| run.join("dayfly"));
        Ok(Self {
            config: config.join(CONFIG_FILE),
            workload_socket: run.join(WORKLOAD_SOCKET),
            admin_socket: run.join(ADMIN_SOCKET),
            http_socket: run.join(HTTP_SOCKET),
            authz_socket: run.join(AUTHZ_SOCKET),
            state_dir: state,
        })
    }

    /// The places of the system's daemon.
    #[must_use]
    pub fn system() -> Self {
        Self {
            config: "/etc/dayfly/dayfly.toml".into(),
            workload_socket: "/run/dayfly/workload.sock".into(),
            admin_socket: "/run/dayfly/admin.sock".into(),
            http_socket: "/run/dayfly/http.sock".into(),
            authz_socket: "/run/dayfly/authz.sock".into(),
            state_dir: "/var/lib/dayfly".into(),
        }
    }

    /// Everything below one folder, for demos, tests and daemons side by side.
    #[must_use]
    pub fn below(home: &Path) -> Self {
        Self {
            config: home.join(CONFIG_FILE),
            workload_socket: home.join(WORKLOAD_SOCKET),
            admin_socket: home.join(ADMIN_SOCKET),
            http_socket: home.join(HTTP_SOCKET),
            authz_socket: home.join(AUTHZ_SOCKET),
            state_dir: home.join("state"),
        }
    }
}

const CONFIG_FILE: &str = "dayfly.toml";
const WORKLOAD_SOCKET: &str = "workload.sock";
const ADMIN_SOCKET: &str = "admin.sock";
const HTTP_SOCKET: &str = "http.sock";
const AUTHZ_SOCKET: &str = "authz.sock";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn choose(home: Option<&str>, env: &[(&str, &str)], uid: u32) -> Result<Paths, PathsError> {
        let find = |name: &str| env.iter().find(|(each, _)| *each == name).map(|(_, value)| OsString::from(value));
        Paths::choose(home.map(Path::new), find, uid)
    }

    #[test]
    fn root_has_the_systems_places() {
        let paths = choose(None, &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")], 0).unwrap();
        assert_eq!(paths, Paths::system());
    }

    #[test]
    fn an_ordinary_user_has_xdg_places() {
        let env = [
            ("HOME", "/home/ada"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_CONFIG_HOME", "/c"),
        ];
        let paths = choose(None, &env, 1000).unwrap();
        assert_eq!(paths.workload_socket, Path::new("/run/user/1000/dayfly/workload.sock"));
        assert_eq!(paths.admin_socket, Path::new("/run/user/1000/dayfly/admin.sock"));
        assert_eq!(paths.state_dir, Path::new("/s/dayfly"));
        assert_eq!(paths.config, Path::new("/c/dayfly/dayfly.toml"));
    }

    #[test]
    fn unset_empty_and_relative_xdg_values_fall_back() {
        let env = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", ""), ("XDG_STATE_HOME", "state")];
        let paths = choose(None, &env, 1000).unwrap();
        assert_eq!(paths.workload_socket, Path::new("/home/ada/.local/state/dayfly/run/workload.sock"));
        assert_eq!(paths.state_dir, Path::new("/home/ada/.local/state/dayfly"));
        assert_eq!(paths.config, Path::new("/home/ada/.config/dayfly/dayfly.toml"));
    }

    #[test]
    fn a_home_puts_everything_below_it_for_anybody() {
        for uid in [0, 1000] {
            let paths = choose(None, &[("DAYFLY_HOME", "/tmp/d")], uid).unwrap();
            assert_eq!(paths, Paths::below(Path::new("/tmp/d")));
        }
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_is_made_absolute() {
        let paths = choose(Some("here"), &[("DAYFLY_HOME", "/tmp/d")], 1000).unwrap();
        assert!(paths.state_dir.is_absolute());
        assert!(paths.state_dir.ends_with("here/state"));
    }

    #[test]
    fn without_a_home_an_ordinary_user_is_told_what_to_give() {
        let error = choose(None, &[], 1000).unwrap_err();
        assert!(matches!(error, PathsError::HomeMissing), "{error}");
    }

    #[test]
    fn an_empty_home_is_an_error() {
        let error = choose(Some(""), &[], 1000).unwrap_err();
        assert!(matches!(error, PathsError::HomeUnusable { .. }), "{error}");
    }
}
