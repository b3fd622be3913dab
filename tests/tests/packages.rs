//! What is shipped: versions that agree, updates that lead to what a fresh
//! install has, packages that come and go without a trace.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use walker_tests::oracle::assert_map_exact;
use walker_tests::process::signal;
use walker_tests::server::{output, run, text};
use walker_tests::walker::{PRELOAD, plain};
use walker_tests::{Cluster, Mode, Server};

const EXTENSIONS: [(&str, &str); 3] = [
    ("walker", "."),
    ("garbagemap", "plugins/garbagemap"),
    ("walstat", "plugins/walstat"),
];
const FIRST: &str = "0.1.0";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn versions_agree() {
    // The workspace's version is this crate's, too.
    let version = env!("CARGO_PKG_VERSION");
    for (name, directory) in EXTENSIONS {
        let magic = format!("name = c\"{name}\", version = c\"{version}\"");
        assert!(
            read(&format!("{directory}/src/lib.rs")).contains(&magic),
            "{name}"
        );
        let control = read(&format!("{directory}/{name}.control"));
        assert!(
            control.contains("default_version = '@CARGO_VERSION@'"),
            "{name}"
        );
        let update = root().join(format!("{directory}/sql/{name}--{FIRST}--{version}.sql"));
        assert!(update.exists(), "{}", update.display());
    }
    let newest = read("CHANGELOG.md");
    let newest = newest.lines().find(|l| l.starts_with("## "));
    assert_eq!(newest, Some(&*format!("## {version}")));
}

#[test]
fn the_metadata_are_what_pgxn_demands() {
    // The PGXN Meta Spec: what is required, and of which form.
    let meta: Value = serde_json::from_str(&read("META.json")).expect("JSON");
    let string = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(string(&meta["version"]).as_deref(), Some(version));
    let name = string(&meta["name"]).expect("a name");
    assert!(name.len() > 1 && !name.contains(['/', '\\', ' ']));
    assert!(string(&meta["abstract"]).is_some() && !meta["maintainer"].is_null());
    assert_eq!(meta["license"], "postgresql");
    assert_eq!(meta["meta-spec"]["version"], "1.0.0");
    let states = ["stable", "testing", "unstable"];
    let state = meta
        .get("release_status")
        .map(|s| s.as_str().expect("text"));
    assert!(state.is_none_or(|s| states.contains(&s)));
    let provides = meta["provides"].as_object().expect("provides");
    let names: Vec<&str> = provides.keys().map(String::as_str).collect();
    let mut ours: Vec<&str> = EXTENSIONS.iter().map(|(name, _)| *name).collect();
    ours.sort_unstable();
    assert_eq!(names, ours);
    for (name, extension) in provides {
        assert_eq!(extension["version"], version, "{name}");
        let file = string(&extension["file"]).expect("a file");
        assert!(root().join(&file).exists(), "{name}: {file}");
    }
    let needs = &meta["prereqs"]["runtime"]["requires"]["PostgreSQL"];
    assert_eq!(needs, "15.0.0");
}

/// The install scripts of the first version, in the server's directory as long
/// as this lives.
struct FirstVersion(Vec<PathBuf>);

impl FirstVersion {
    fn install(server: &Server) -> Self {
        let share = PathBuf::from(server.ask("--sharedir")).join("extension");
        let mut files = Self(Vec::new());
        for (name, _) in EXTENSIONS {
            let script = format!("{name}--{FIRST}.sql");
            let to = share.join(&script);
            let from = root().join("tests/fixtures").join(FIRST).join(script);
            files.0.push(to.clone());
            fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
        }
        files
    }
}

impl Drop for FirstVersion {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}

/// Everything there is to know of an extension's objects, one line each.
const SCHEMA: &str = "
WITH member AS (
    SELECT d.classid, d.objid, e.extname
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND e.extname IN ('walker', 'garbagemap', 'walstat')
), acl AS (
    SELECT 'pg_proc'::regclass AS classid, oid AS objid, proacl AS acl FROM pg_proc
    UNION ALL SELECT 'pg_class'::regclass, oid, relacl FROM pg_class
    UNION ALL SELECT 'pg_type'::regclass, oid, typacl FROM pg_type
), line AS (
    SELECT concat_ws(' ', extname, 'has', pg_describe_object(classid, objid, 0),
               'comment', obj_description(objid, classid::regclass::name)) AS line
    FROM member
    UNION ALL
    SELECT concat_ws(' ', 'grant on', pg_describe_object(m.classid, m.objid, 0),
               coalesce((SELECT string_agg(concat_ws(':', grantor::regrole,
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                   privilege_type, is_grantable), ' ' ORDER BY grantee, privilege_type)
                   FROM aclexplode(a.acl)), 'default'))
    FROM member m JOIN acl a USING (classid, objid)
    UNION ALL
    SELECT concat_ws(' ', 'initially', pg_describe_object(m.classid, m.objid, 0),
               (SELECT string_agg(concat_ws(':', grantee, privilege_type), ' '
                    ORDER BY grantee, privilege_type) FROM aclexplode(i.initprivs)))
    FROM member m JOIN pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid
    UNION ALL
    SELECT concat_ws(' ', 'function', p.oid::regprocedure,
               pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prokind,
               (SELECT lanname FROM pg_language WHERE oid = p.prolang), p.prosrc, p.probin,
               pg_get_function_sqlbody(p.oid), p.provolatile, p.proparallel,
               p.proisstrict, p.proleakproof, p.prosecdef, p.procost, p.prorows, p.proconfig)
    FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    UNION ALL
    SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.reloptions,
               pg_get_viewdef(c.oid),
               (SELECT string_agg(concat_ws(':', attname, atttypid::regtype, atttypmod, attnotnull,
                    col_description(attrelid, attnum)), ' ' ORDER BY attnum)
                FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0))
    FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    UNION ALL
    SELECT concat_ws(' ', 'extension', extname, extversion, extrelocatable, extconfig, extcondition)
    FROM pg_extension WHERE extname IN ('walker', 'garbagemap', 'walstat')
)
SELECT replace(line, E'\\n', ' ') FROM line ORDER BY 1";

fn schema(cluster: &Cluster, database: &str) -> BTreeSet<String> {
    let printed = cluster.safe_psql(database, SCHEMA);
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn an_update_leads_to_what_a_fresh_install_has() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("updated");
    cluster.init();
    cluster.append_conf(PRELOAD);
    cluster.append_conf("walker.plugins = 'garbagemap, walstat'");
    cluster.start();
    let _files = FirstVersion::install(cluster.server);
    cluster.safe_psql("postgres", "CREATE DATABASE fresh");
    for (name, _) in EXTENSIONS {
        cluster.safe_psql(
            "postgres",
            &format!("CREATE EXTENSION {name} VERSION '{FIRST}'"),
        );
        cluster.safe_psql("fresh", &format!("CREATE EXTENSION {name}"));
    }
    if cluster.server.has_contrib("pgstattuple") {
        cluster.safe_psql("postgres", "CREATE EXTENSION pgstattuple");
    }
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 5000) AS a; DELETE FROM t WHERE a % 7 = 0;
         CREATE VIEW mine AS SELECT sum(n_dead_tuples) AS n, bool_and(exact) AS exact
             FROM garbage_map('t')",
    );
    cluster.walker_wait();
    assert_eq!(cluster.safe_psql("postgres", "SELECT * FROM mine"), "714|t");
    assert_ne!(schema(&cluster, "postgres"), schema(&cluster, "fresh"));
    // As it was declared then, with fewer columns.
    cluster.safe_psql("postgres", "CREATE TABLE v AS SELECT 1 AS a");
    cluster.walker_wait();
    let worker = cluster.stop_waiting_worker();
    cluster.safe_psql("postgres", "DELETE FROM v");
    let verify = "SELECT * FROM garbage_verify('v')";
    assert_eq!(cluster.safe_psql("postgres", verify), "0|0|0|0|1|0|0|t");
    signal("CONT", &[worker]);

    for (name, _) in EXTENSIONS {
        cluster.safe_psql("postgres", &format!("ALTER EXTENSION {name} UPDATE"));
    }
    let (updated, fresh) = (schema(&cluster, "postgres"), schema(&cluster, "fresh"));
    let missing: Vec<&String> = fresh.difference(&updated).collect();
    let extra: Vec<&String> = updated.difference(&fresh).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "the update scripts lack:\n{missing:#?}\nand leave:\n{extra:#?}"
    );
    assert!(fresh.len() > 60, "{} lines", fresh.len());

    // What there was is there, and counting goes on.
    assert_eq!(cluster.safe_psql("postgres", "SELECT * FROM mine"), "714|t");
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE u AS SELECT * FROM t; DELETE FROM u WHERE a % 7 = 1",
    );
    cluster.walker_wait();
    let new = "SELECT sum(n_dead_tuples), bool_and(exact) FROM garbage_map('u')";
    assert_eq!(cluster.safe_psql("postgres", new), "715|t");
    assert_map_exact(&cluster, "postgres");
    cluster.safe_psql("postgres", "SELECT garbage_bar('u'), garbage_report()");
}

/// A Debian of its own in a directory: the server and dpkg's database.
struct Debian {
    root: PathBuf,
}

impl Debian {
    /// The server under test, without walker, where Debian has it.
    fn with_server(scratch: &Path, server: &Server) -> Self {
        let root = scratch.join("debian");
        let (lib, share) = ("usr/lib/postgresql/15", "usr/share/postgresql/15");
        let from = PathBuf::from(server.ask("--bindir"));
        let from = from.parent().expect("a directory");
        for (from, to) in [
            (from.join("bin"), root.join(lib).join("bin")),
            (from.join("lib"), root.join(lib).join("lib")),
            (server.ask("--sharedir").into(), root.join(share)),
        ] {
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            run(Command::new("cp").arg("-rL").args([from, to]));
        }
        let ours = "rm -rf usr/lib/postgresql/15/lib/bitcode; \
                    rm -f usr/*/postgresql/15/{lib,extension}/{walker,garbagemap,walstat}[-.]*";
        run(Command::new("bash").current_dir(&root).args(["-c", ours]));
        // What the package depends on, as this machine has it.
        let status = root.join("var/lib/dpkg");
        for directory in ["info", "updates", "triggers"] {
            fs::create_dir_all(status.join(directory)).expect("a directory");
        }
        let known =
            run(Command::new("dpkg-query").args(["-s", "postgresql-15", "libc6", "libgcc-s1"]));
        // Without what those depend on themselves.
        let stanza = |l: &&str| !l.starts_with("Depends:") && !l.starts_with("Pre-Depends:");
        let known: Vec<_> = text(&known)
            .lines()
            .filter(stanza)
            .map(str::to_owned)
            .collect();
        fs::write(status.join("status"), known.join("\n") + "\n").expect("dpkg's status");
        Self { root }
    }

    fn dpkg(&self, arguments: &[&str]) {
        let mut command = Command::new("dpkg");
        command
            .arg(format!("--root={}", self.root.display()))
            .arg(format!(
                "--log={}",
                self.root.with_extension("log").display()
            ))
            .args(["--force-not-root", "--force-script-chrootless"])
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(&mut command);
    }

    /// All files, with kind, mode and size.
    fn files(&self) -> Vec<String> {
        let mut find = Command::new("find");
        find.current_dir(&self.root)
            .args(["usr", "-printf", "%p %y %m %s\\n"]);
        let mut files: Vec<_> = text(&run(&mut find)).lines().map(str::to_owned).collect();
        files.retain(|f| !f.contains(" d "));
        files.sort();
        files
    }
}

#[test]
fn a_package_comes_and_goes() {
    let server = Server::get();
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if plain() || server.major != 15 || !has("dpkg-query") {
        // The layout is Debian's, and so is the server of 15.
        return;
    }
    let place = Cluster::new("package");
    let scratch = place.host();
    let out = scratch.join("deb");
    let mut build = Command::new(root().join("scripts/deb.sh"));
    build.arg(server.pg_config()).arg("dev").arg(&out);
    // As `make package` would: what cargo tells its tests is not for a build.
    for (name, _) in std::env::vars_os() {
        let cargo = name.to_string_lossy().starts_with("CARGO_");
        if cargo && name != "CARGO_TARGET_DIR" && name != "CARGO_HOME" {
            build.env_remove(name);
        }
    }
    let printed = text(&run(&mut build));
    let deb = printed.lines().last().expect("its path").to_owned();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        deb.contains(&format!("/postgresql-15-walker_{version}-1_")),
        "{deb}"
    );
    if has("lintian") {
        let told =
            output(Command::new("lintian").args(["--fail-on", "error", "--allow-root", &deb]));
        assert!(told.status.success(), "{}", text(&told));
    }

    let debian = Debian::with_server(scratch, server);
    let before = debian.files();
    debian.dpkg(&["--install", &deb]);
    let installed = debian.files();
    let added: BTreeSet<&String> = installed.iter().collect();
    let added: Vec<&&String> = added.iter().filter(|f| !before.contains(f)).collect();
    let holds = |path: &str| {
        added
            .iter()
            .any(|f| f.starts_with(&format!("{path} f 644 ")))
    };
    for (name, _) in EXTENSIONS {
        let share = "usr/share/postgresql/15/extension";
        assert!(
            holds(&format!("usr/lib/postgresql/15/lib/{name}.so")),
            "{added:#?}"
        );
        for file in [
            format!("{name}.control"),
            format!("{name}--{version}.sql"),
            format!("{name}--{FIRST}--{version}.sql"),
        ] {
            assert!(
                holds(&format!("{share}/{file}")),
                "{file} is not in {added:#?}"
            );
        }
    }
    for file in [
        "README.md",
        "docs/reference.md",
        "monitoring/alerts.yaml",
        "plugins/walstat/README.md",
        "copyright",
        "changelog.gz",
        "changelog.Debian.gz",
    ] {
        assert!(
            holds(&format!("usr/share/doc/postgresql-15-walker/{file}")),
            "{added:#?}"
        );
    }
    assert!(holds(
        "usr/include/postgresql/15/server/extension/walker/walker.h"
    ));

    let bin = debian.root.join("usr/lib/postgresql/15/bin");
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&debian.root));
    let packaged: &'static Server = Box::leak(Box::new(Server::at(bin.join("pg_config"))));
    let cluster = Cluster::on("packaged", packaged);
    cluster.init();
    cluster.append_conf(PRELOAD);
    cluster.start();
    for (name, _) in EXTENSIONS {
        cluster.safe_psql("postgres", &format!("CREATE EXTENSION {name}"));
    }
    cluster.safe_psql("postgres", "CREATE TABLE t AS SELECT 1 AS a; DELETE FROM t");
    cluster.walker_wait();
    let map = "SELECT n_dead_tuples, exact FROM garbage_map('t')";
    assert_eq!(cluster.safe_psql("postgres", map), "1|t");
    cluster.safe_psql("postgres", "DROP EXTENSION walker, garbagemap, walstat");
    cluster.append_conf("shared_preload_libraries = ''");
    cluster.stop(Mode::Fast);

    debian.dpkg(&["--purge", "postgresql-15-walker"]);
    assert_eq!(debian.files(), before);
    let doc = debian.root.join("usr/share/doc/postgresql-15-walker");
    assert!(!doc.exists());
    cluster.start();
    assert_eq!(cluster.safe_psql("postgres", "SELECT 1"), "1");
}
