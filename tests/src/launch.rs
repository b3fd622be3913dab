//! How a server is started where it is to lack something.

use crate::server::Server;
use std::ffi::OsString;
use std::process::Command;

/// What a cluster's server finds when it starts.
#[derive(Debug, Default)]
pub struct Launch {
    /// More of its environment.
    pub environment: Vec<(String, OsString)>,
    /// A shell script that prepares the ground, as root, and ends with
    /// `exec "$@"`, which starts the server as its owner.
    pub script: Option<String>,
}

impl Launch {
    /// The command that starts the server, for which `command` would do.
    pub(crate) fn wrap(&self, server: &Server, command: Command) -> Command {
        let mut command = match &self.script {
            None => command,
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script, "sh"]);
                if let Some((uid, gid)) = server.owner() {
                    shell.arg("setpriv").arg(format!("--reuid={uid}"));
                    shell.arg(format!("--regid={gid}")).arg("--clear-groups");
                }
                shell.arg(command.get_program()).args(command.get_args());
                for (name, value) in command.get_envs() {
                    match value {
                        Some(value) => shell.env(name, value),
                        None => shell.env_remove(name),
                    };
                }
                shell.current_dir("/");
                shell
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
