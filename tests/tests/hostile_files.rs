//! Files where something else is expected, helpers that do not help, and targets that hold something already: each is said, and nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use conformance::registry::{MODULE, Registry, Reply};
use tempfile::TempDir;
use weir_harness::oci::{Contents, Image, Layout};

fn wasm() -> Vec<u8> {
    wat::parse_str(MODULE).unwrap()
}

/// A folder with a module and a layout of it, whose layer has a file that would be hidden as well.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let beside = |name: &str| (name.to_owned(), b"theirs".to_vec());
    let files = vec![beside(".envrc"), beside("weir.json"), beside("README.md")];
    let image = Image::compat(&Contents { wasm: wasm(), files, ..Contents::default() });
    Layout::write(&folder.path().join("layout"), &[("1", &image.unwrap())]).unwrap();
    fs::write(folder.path().join("module.wasm"), wasm()).unwrap();
    folder
}

/// Runs it in the folder, with docker's configuration there; standard error must hold each of `says`.
#[track_caller]
fn weir(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).current_dir(folder).env("DOCKER_CONFIG", folder).env("PATH", path);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
    assert!(!err.contains("panicked") && !err.contains("hunter2"), "{arguments:?}: {err}");
    for text in says {
        assert!(err.contains(text), "{arguments:?} does not say `{text}`: {err}");
    }
}

#[test]
fn what_is_there_is_replaced_only_where_that_is_meant() {
    let folder = folder();
    let folder = folder.path();
    let (mine, module) = (folder.join("mine"), folder.join("old.wasm"));
    fs::write(&mine, "precious").unwrap();
    fs::write(&module, b"\0asm\x01\0\0\0old").unwrap();
    weir(folder, &["pull", "layout", "--out", "mine"], 2, &["`mine` is there, and is no module", "--force"]);
    assert_eq!(fs::read(&mine).unwrap(), b"precious");
    weir(folder, &["pull", "layout", "--out", "old.wasm"], 0, &["replacing `old.wasm`"]);
    assert_eq!(fs::read(&module).unwrap(), wasm());
    weir(folder, &["pull", "layout", "--out", "layout"], 2, &["it is a folder"]);
    weir(folder, &["pull", "layout", "--out", "none/x.wasm"], 2, &["cannot write `none/x.wasm`"]);
    // Beside the module: nothing hidden, and nothing of mine; none of them when one may not be.
    fs::write(folder.join("README.md"), "precious").unwrap();
    weir(folder, &["pull", "layout", "--all"], 2, &["README.md` is there", "left out", "it would be hidden"]);
    assert!(!folder.join("plugin.wasm").exists() && !folder.join("weir.json").exists());
    weir(folder, &["pull", "layout", "--all", "--force"], 0, &["replacing `./README.md`"]);
    assert_eq!(fs::read(folder.join("plugin.wasm")).unwrap(), wasm());
    assert!(!folder.join(".envrc").exists());
    weir(
        folder,
        &["pack", "module.wasm", "--out", "mine"],
        2,
        &["is no image layout; expected a new or empty folder"],
    );
    weir(folder, &["pack", "module.wasm", "--tag", "a b"], 2, &["`a b` is no tag"]);
}

#[test]
fn modules_of_other_toolchains_are_not_lost_and_not_made_of_what_is_none() {
    let folder = folder();
    let folder = folder.path();
    weir(
        folder,
        &["build", "--wasm", "module.wasm", "--out", "."],
        2,
        &["would be replaced by what is made of it"],
    );
    assert_eq!(fs::read(folder.join("module.wasm")).unwrap(), wasm());
    fs::create_dir(folder.join("other")).unwrap();
    fs::copy(folder.join("module.wasm"), folder.join("other/module.wasm")).unwrap();
    let two = ["build", "--wasm", "module.wasm", "--wasm", "other/module.wasm", "--out", "out"];
    weir(folder, &two, 2, &["two of the files would be `module.wasm`"]);
    // A call of what is not there would have become a call of another function.
    let broken = MODULE.replace("i32.const 16", "call 9 i32.const 16");
    fs::write(folder.join("broken.wasm"), wat::parse_str(broken).unwrap()).unwrap();
    weir(
        folder,
        &["build", "--wasm", "broken.wasm", "--out", "out"],
        2,
        &["`broken.wasm`: ", "unknown function 9"],
    );
    weir(
        folder,
        &["pack", "broken.wasm", "--out", "new"],
        2,
        &["Envoy would refuse `./broken.wasm`", "unknown function 9"],
    );
    assert!(!folder.join("out/broken.wasm").exists());
    // What Envoy runs and this engine does not is said so.
    let threads = MODULE.replace("1)", "1 2 shared)");
    fs::write(folder.join("threads.wasm"), wat::parse_str(threads).unwrap()).unwrap();
    weir(folder, &["check", "threads.wasm"], 2, &["Envoy runs it, but this program's engine does not"]);
    weir(folder, &["inspect", "threads.wasm"], 0, &[]);
    weir(folder, &["build", "--wasm", "/dev/zero", "--out", "out"], 2, &["/dev/zero: has more than"]);
}

#[test]
fn a_name_of_strangers_is_no_path() {
    let folder = folder();
    let folder = folder.path();
    let named = |metadata: &str| {
        let text = MODULE.replace("(memory", &format!("(@custom \"weir.metadata\" {metadata:?}) (memory"));
        fs::write(folder.join("named.wasm"), wat::parse_str(text).unwrap()).unwrap();
    };
    named(r#"{"name": "../../up", "version": "1"}"#);
    weir(
        folder,
        &["pack", "named.wasm"],
        2,
        &["named.wasm` says of itself in `weir.metadata`: `name`: `../../up`"],
    );
    named(r#"{"name": "a", "version": "1 2"}"#);
    weir(folder, &["pack", "named.wasm"], 2, &["`version`: `1 2` is no tag"]);
    named(r#"{"name": "a", "version": "1.0.0+build"}"#);
    weir(folder, &["pack", "named.wasm"], 0, &[]);
    weir(folder, &["pull", "oci:target/weir/a.oci:1.0.0_build", "--out", "/dev/null"], 0, &[]);
}

#[test]
fn helpers_and_configurations_of_docker_that_do_not_help() {
    let folder = folder();
    let folder = folder.path();
    let image = Image::compat(&Contents { wasm: wasm(), ..Contents::default() }).unwrap();
    let registry = Registry::start(&image, |request| {
        let wants = Reply::new(401, &[("www-authenticate", "Basic realm=\"x\"")], b"");
        request.authorization.is_none().then_some(wants)
    });
    let registry = registry.unwrap();
    let pull = |configuration: &str, code: i32, says: &[&str]| {
        fs::write(folder.join("config.json"), configuration.replace("HOST", &registry.host)).unwrap();
        weir(folder, &["pull", &registry.reference(), "--out", "/dev/null", "--timeout", "1"], code, says);
    };
    pull(r#"{"auths": {"HOST": {"auth": "hunter2"#, 2, &["config.json`: is not docker's configuration: "]);
    pull("[]", 2, &["expected an object of JSON"]);
    pull(r#"{"auths": {"HOST": {"auth": "?"}}}"#, 2, &["is not USER:PASSWORD in base64"]);
    pull(r#"{"auths": {"HOST": {"identitytoken": "hunter2"}}}"#, 2, &["an identity token is configured"]);
    pull(r#"{"auths": {"HOST": {"auth": ""}}}"#, 2, &["answers 401: asked without credentials"]);
    pull(
        r#"{"credsStore": "absent"}"#,
        2,
        &["there is no `docker-credential-absent` on the PATH", "config.json"],
    );
    for (script, code, says) in [
        ("echo boom >&2; exit 3", 2, "failed (exit status: 3): boom"),
        ("echo credentials not found; exit 1", 2, "asked without credentials"),
        ("echo hunter2", 2, "is not understood; expected a JSON object with `Username` and `Secret`"),
        ("exec sleep 60", 2, "`docker-credential-odd` has not answered in 1 s"),
        ("kill -9 $$", 2, "it says nothing"),
        // It leaves somebody behind who holds the pipe.
        (r#"sleep 20 & echo '{"Username": "u", "Secret": "p"}'"#, 0, ""),
    ] {
        let helper = folder.join("docker-credential-odd");
        fs::write(&helper, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        pull(r#"{"credsStore": "odd"}"#, code, &[says]);
    }
    fs::remove_file(folder.join("config.json")).unwrap();
    fs::create_dir(folder.join("config.json")).unwrap();
    weir(
        folder,
        &["pull", &registry.reference(), "--out", "/dev/null"],
        2,
        &["config.json`: Is a directory"],
    );
}

#[test]
fn weir_check_looks_once_and_only_at_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let manifest = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: x}\nspec: {url: 'oci://registry.example/x:1'}\n";
    fs::create_dir(folder.join("deploy")).unwrap();
    fs::write(folder.join("deploy/x.yaml"), manifest).unwrap();
    symlink("..", folder.join("deploy/loop")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("deploy/pipe.yaml")).status().unwrap().success());
    let output = Command::new(env!("CARGO_BIN_EXE_weir-under-test"))
        .args(["check", "deploy"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("1 document checked"), "{out}");
    weir(folder, &["check", "deploy/pipe.yaml"], 2, &["is no file; `-` reads standard input"]);
    fs::write(folder.join("list.json"), "[1, 2]").unwrap();
    weir(folder, &["check", "list.json"], 3, &[]);
}
