//! A headless Chromium: does it show a page, and what does it complain of?

use crate::poll::{poll_for, timeout};
use crate::skip::skipped;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A browser, with a directory for its profile and its screenshots.
#[derive(Debug)]
pub struct Browser {
    program: PathBuf,
    directory: PathBuf,
}

/// What a page looked like.
#[derive(Debug)]
pub struct Page {
    /// The screenshot, a PNG.
    pub png: Vec<u8>,
    /// What was written to the console.
    pub console: Vec<String>,
    /// The document after its scripts have run.
    pub dom: String,
}

impl Browser {
    /// The browser of this machine. `None`, with a message, if there is none
    /// and this is a user who cannot install one. Screenshots stay in the
    /// directory that `WALKER_SCREENSHOTS` names, if it names one.
    pub fn find(scratch: &Path) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join("chromium"))
            .find(|program| program.exists());
        let Some(program) = program else {
            use std::os::unix::fs::MetadataExt;
            let me = fs::metadata("/proc/self").expect("/proc/self").uid();
            assert_ne!(me, 0, "there is no chromium; scripts/setup.sh installs it");
            skipped("pictures in a browser: chromium is not installed");
            return None;
        };
        let kept = std::env::var_os("WALKER_SCREENSHOTS").map(PathBuf::from);
        let directory = kept.unwrap_or_else(|| scratch.to_owned());
        fs::create_dir_all(&directory).expect("a directory");
        Some(Self { program, directory })
    }

    /// Opens a file in a window of a size, once to see it and once to read it.
    pub fn open(&self, file: &Path, name: &str, (width, height): (u32, u32)) -> Page {
        let png = self.directory.join(format!("{name}.png"));
        let _ = fs::remove_file(&png);
        let screenshot = [
            format!("--screenshot={}", png.display()),
            format!("--window-size={width},{height}"),
            "--hide-scrollbars".to_owned(),
        ];
        let (_, messages) = self.run(file, &screenshot);
        let (dom, more) = self.run(file, &["--dump-dom".to_owned()]);
        let console = messages
            .lines()
            .chain(more.lines())
            .filter(|line| line.contains("CONSOLE"))
            .map(str::to_owned);
        Page {
            png: fs::read(&png)
                .unwrap_or_else(|e| panic!("{name}: no screenshot, {e}: {messages}")),
            console: console.collect(),
            dom,
        }
    }

    /// Output and messages of a run with a new profile.
    fn run(&self, file: &Path, options: &[String]) -> (String, String) {
        let profile = self
            .directory
            .join(format!("profile-{}", std::process::id()));
        let _ = fs::remove_dir_all(&profile);
        let (out, err) = (profile.with_extension("out"), profile.with_extension("err"));
        let mut command = Command::new(&self.program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--v=0",
        ]);
        command
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(options)
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).expect("a file"))
            .stderr(fs::File::create(&err).expect("a file"));
        let mut child = command.spawn().expect("chromium");
        let ended = poll_for(timeout(), || child.try_wait().expect("chromium"));
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let read =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
        let (printed, messages) = (read(&out), read(&err));
        for file in [out, err] {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_dir_all(&profile);
        assert!(
            ended.is_some_and(|status| status.success()),
            "chromium: {ended:?}\n{messages}"
        );
        (printed, messages)
    }
}
