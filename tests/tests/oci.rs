//! Images against a real registry: Debian's `docker-registry`, read back with `skopeo`, signed with `cosign`. Everything on loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use conformance::tools;
use serde_json::Value;
use tempfile::TempDir;

/// `tester` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "tester:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// The same for docker's configuration: base64 of `tester:secret`.
const BASIC: &str = "dGVzdGVyOnNlY3JldA==";
/// One would not pull.
const DIFFERS: i32 = 1;
/// It cannot be read.
const UNREADABLE: i32 = 2;

/// A tool on the PATH. Where it is not there the test is skipped and named, and with `CI=true` that is a failure.
fn tool(name: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "no `{name}` for `{test}`; .ci/run installs it"
        );
        tools::say(&format!("skipped `{test}`: no {name}"));
    }
    found
}

/// A registry of the test's own.
struct Registry {
    process: Child,
    host: String,
    folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts one, with more lines of configuration.
    fn start(test: &str, more: impl Fn(&Path) -> String) -> Option<Self> {
        let binary = tool("docker-registry", test)?;
        let folder = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let data = folder.path().join("data");
        let mut configuration = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
            data.display()
        );
        configuration.push_str(&more(folder.path()));
        if !configuration.contains("http:") {
            configuration.push_str(&format!("http: {{addr: '{host}'}}\n"));
        }
        let configuration = configuration.replace("ADDRESS", &host);
        let file = folder.path().join("registry.yml");
        fs::write(&file, configuration).unwrap();
        let mut process = Command::new(binary)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("listening on")).collect();
        assert!(process.try_wait().unwrap().is_none(), "{said:?}");
        // Nobody reads what it says from now on; the pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, host, folder })
    }

    fn open(test: &str) -> Option<Self> {
        Self::start(test, |_| String::new())
    }

    /// One that asks for `tester` and `secret`.
    fn closed(test: &str) -> Option<Self> {
        Self::start(test, |folder| {
            let file = folder.join("htpasswd");
            fs::write(&file, HTPASSWD).unwrap();
            format!("auth: {{htpasswd: {{realm: basic-realm, path: {}}}}}\n", file.display())
        })
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// Docker's configuration with credentials for this registry.
    fn login(&self, basic: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!(r#"{{"auths": {{"{}": {{"auth": "{basic}"}}}}}}"#, self.host);
        fs::write(folder.path().join("config.json"), configuration).unwrap();
        folder
    }
}

/// Nobody's credentials.
fn nobody() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn weir(arguments: &[&str], login: &TempDir) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.env("DOCKER_CONFIG", login.path()).env_remove("HTTP_PROXY").env_remove("HTTPS_PROXY");
    command.args(arguments).current_dir(tools::workspace()).stdin(Stdio::null()).output().expect("weir runs")
}

/// Runs it; the exit code must be that, and what it says on both streams must hold each of `says`. Standard output.
#[track_caller]
fn check(arguments: &[&str], login: &TempDir, code: i32, says: &[&str]) -> String {
    let output = weir(arguments, login);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let context = format!("{arguments:?}\nstdout: {out}\nstderr: {err}");
    assert_eq!(output.status.code(), Some(code), "{context}");
    assert!(!err.contains("panicked"), "{context}");
    for text in says {
        assert!(out.contains(text) || err.contains(text), "does not say `{text}`: {context}");
    }
    out.into_owned()
}

fn run(tool: &Path, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The digest behind the last `@` or before the first space of a printed line.
fn digest(line: &str) -> String {
    let line = line.trim();
    line.rsplit_once('@')
        .map_or_else(|| line.split(' ').next().unwrap_or("").to_owned(), |(_, digest)| digest.to_owned())
}

const HELLO: &str = "examples/hello-filter";

#[test]
fn what_is_pushed_is_what_istio_pulls_and_skopeo_reads() {
    let test = "what_is_pushed_is_what_istio_pulls_and_skopeo_reads";
    let (Some(registry), Some(skopeo)) = (Registry::open(test), tool("skopeo", test)) else { return };
    let (nobody, out) = (nobody(), tempfile::tempdir().unwrap());
    let reference = registry.name("weir/hello:1.0");
    let printed = check(&["push", HELLO, &reference, "--cncf"], &nobody, 0, &[&reference, "-wasm@sha256:"]);
    let pushed = digest(printed.lines().next().unwrap());

    // The shape, in a stranger's eyes.
    let docker = format!("docker://{reference}");
    let raw = run(&skopeo, &["inspect", "--tls-verify=false", "--raw", &docker]);
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let described: Value =
        serde_json::from_str(&run(&skopeo, &["inspect", "--tls-verify=false", &docker])).unwrap();
    assert_eq!(described["Digest"], Value::String(pushed.clone()));

    // Pushed twice, packed apart, copied by others: the same digest.
    assert_eq!(digest(check(&["push", HELLO, &reference], &nobody, 0, &[]).lines().next().unwrap()), pushed);
    let layout = out.path().join("layout");
    let packed = check(&["pack", HELLO, "--tag", "1.0", "--out", layout.to_str().unwrap()], &nobody, 0, &[]);
    assert_eq!(digest(&packed), pushed);
    let copied = registry.name("weir/copied:1.0");
    let from = format!("oci:{}:1.0", layout.display());
    run(
        &skopeo,
        &["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &format!("docker://{copied}")],
    );
    check(&["verify", &copied], &nobody, 0, &[&pushed, "compat"]);

    // By tag, by digest, and out of the layout: the module, byte by byte.
    let module = fs::read(tools::workspace().join("target/weir/hello-filter.wasm")).unwrap();
    let file = out.path().join("pulled.wasm");
    let by_digest = registry.name(&format!("weir/hello@{pushed}"));
    for place in
        [reference.as_str(), by_digest.as_str(), &format!("oci://{reference}"), layout.to_str().unwrap()]
    {
        check(&["pull", place, "--out", file.to_str().unwrap()], &nobody, 0, &["sha256:"]);
        assert_eq!(fs::read(&file).unwrap(), module, "{place}");
        fs::remove_file(&file).unwrap();
    }
    let all = out.path().join("all");
    check(&["pull", &reference, "--all", "--out", all.to_str().unwrap()], &nobody, 0, &["plugin.wasm"]);
    assert_eq!(fs::read(all.join("plugin.wasm")).unwrap(), module);

    check(
        &["verify", &reference],
        &nobody,
        0,
        &["Istio", "pulls it", "WASM_INSECURE_REGISTRIES", "pulls no images"],
    );
    check(&["verify", &by_digest], &nobody, 0, &["pulls it"]);
    let other = format!("{}{}", "sha256:", "0".repeat(64));
    check(&["verify", &reference, "--sha256", &other], &nobody, DIFFERS, &["is pinned, but the image is"]);
    check(&["verify", &registry.name("weir/hello:1.0-wasm")], &nobody, DIFFERS, &["CNCF"]);
    check(&["inspect", &reference], &nobody, 0, &["compat", "imports of"]);
}

#[test]
fn what_is_not_there_or_was_changed_is_said() {
    let test = "what_is_not_there_or_was_changed_is_said";
    let Some(registry) = Registry::open(test) else { return };
    let nobody = nobody();
    let reference = registry.name("weir/hello:1.0");
    check(&["pull", &reference], &nobody, UNREADABLE, &["has no tag `1.0`"]);
    check(&["verify", &reference], &nobody, UNREADABLE, &["has no tag `1.0`"]);
    check(&["push", HELLO, &reference], &nobody, 0, &[]);
    check(&["pull", &registry.name("weir/hello:2.0")], &nobody, UNREADABLE, &["has no tag `2.0`"]);
    let absent = format!("{}@sha256:{}", registry.name("weir/hello"), "1".repeat(64));
    check(&["pull", &absent], &nobody, UNREADABLE, &["has no manifest sha256:1111"]);
    check(&["pull", "https://registry.example/x.wasm"], &nobody, UNREADABLE, &["is no image reference"]);
    let target = format!("{}@sha256:{}", registry.name("weir/hello"), "1".repeat(64));
    check(&["push", HELLO, &target], &nobody, UNREADABLE, &["names a digest"]);

    // One byte of the largest blob, in the registry's own store.
    let blobs = registry.folder.path().join("data/docker/registry/v2/blobs/sha256");
    let mut files: Vec<PathBuf> = Vec::new();
    for first in fs::read_dir(blobs).unwrap() {
        files.extend(
            fs::read_dir(first.unwrap().path()).unwrap().map(|entry| entry.unwrap().path().join("data")),
        );
    }
    let layer = files.iter().max_by_key(|file| fs::metadata(file).map_or(0, |data| data.len())).unwrap();
    let mut bytes = fs::read(layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(layer, bytes).unwrap();
    let says = ["is not what its digest says"];
    check(&["pull", &reference, "--out", "target/never.wasm"], &nobody, UNREADABLE, &says);
    check(&["verify", &reference], &nobody, UNREADABLE, &says);
    assert!(!tools::workspace().join("target/never.wasm").exists());
}

#[test]
fn credentials_come_from_dockers_configuration() {
    let test = "credentials_come_from_dockers_configuration";
    let Some(registry) = Registry::closed(test) else { return };
    let (nobody, tester, other) = (nobody(), registry.login(BASIC), registry.login("dGVzdGVyOndyb25n"));
    let reference = registry.name("weir/hello:1.0");
    check(
        &["push", HELLO, &reference],
        &nobody,
        UNREADABLE,
        &["answers 401", "asked without credentials", "docker login"],
    );
    check(&["push", HELLO, &reference], &other, UNREADABLE, &["answers 401", "asked as `tester`"]);
    check(&["push", HELLO, &reference], &tester, 0, &["@sha256:"]);
    check(&["pull", &reference, "--out", "/dev/null"], &nobody, UNREADABLE, &["answers 401"]);
    check(&["pull", &reference, "--out", "/dev/null"], &tester, 0, &["sha256:"]);
    // Istio's agent turns away from plain Basic authentication, whatever the credentials.
    check(
        &["verify", &reference],
        &tester,
        DIFFERS,
        &["basic-realm", "no URL, as with plain Basic authentication"],
    );
    check(&["verify", &reference, "--for", "envoy-gateway"], &tester, 0, &["pullSecretRef"]);

    // A credential helper.
    let helper = tempfile::tempdir().unwrap();
    let script = helper.path().join("docker-credential-weirtest");
    let answer = format!(r#"{{"ServerURL": "{}", "Username": "tester", "Secret": "secret"}}"#, registry.host);
    fs::write(&script, format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")).unwrap();
    make_executable(&script);
    fs::write(helper.path().join("config.json"), r#"{"credsStore": "weirtest"}"#).unwrap();
    let path = format!("{}:{}", helper.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.env("DOCKER_CONFIG", helper.path()).env("PATH", path).args([
        "pull",
        &reference,
        "--out",
        "/dev/null",
    ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn who_is_not_trusted_is_not_spoken_to() {
    let test = "who_is_not_trusted_is_not_spoken_to";
    let Some(openssl) = tool("openssl", test) else { return };
    let registry = Registry::start(test, |folder| {
        let (key, certificate) = (folder.join("key.pem"), folder.join("cert.pem"));
        let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
        let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=weir"];
        let names = [
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            key,
            "-out",
            certificate,
        ];
        run(&openssl, &[request.as_slice(), names.as_slice()].concat());
        format!("http: {{addr: 'ADDRESS', tls: {{certificate: {certificate}, key: {key}}}}}\n")
    });
    let Some(registry) = registry else { return };
    let (nobody, reference) = (nobody(), registry.name("weir/hello:1.0"));
    let right = registry.folder.path().join("cert.pem");
    check(&["push", HELLO, &reference, "--ca-file", right.to_str().unwrap()], &nobody, 0, &["@sha256:"]);
    let wrong = registry.folder.path().join("other.pem");
    let key = registry.folder.path().join("other.key");
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"];
    let files = ["-keyout", key.to_str().unwrap(), "-out", wrong.to_str().unwrap()];
    run(&openssl, &[request.as_slice(), files.as_slice()].concat());
    let arguments = ["pull", &reference, "--ca-file", wrong.to_str().unwrap()];
    check(&arguments, &nobody, UNREADABLE, &["cannot reach", "certificate", "--ca-file FILE"]);
    let none = registry.folder.path().join("registry.yml");
    check(
        &["pull", &reference, "--ca-file", none.to_str().unwrap()],
        &nobody,
        UNREADABLE,
        &["holds no certificate"],
    );
}

#[test]
fn an_image_is_signed_and_the_signature_verified() {
    let test = "an_image_is_signed_and_the_signature_verified";
    let (Some(registry), Some(cosign)) = (Registry::open(test), tool("cosign", test)) else { return };
    let (nobody, reference) = (nobody(), registry.name("weir/hello:1.0"));
    let pushed = digest(&check(&["push", HELLO, &reference], &nobody, 0, &[]));
    let pinned = registry.name(&format!("weir/hello@{pushed}"));
    let cosign = |arguments: &[&str]| {
        let mut command = Command::new(&cosign);
        command
            .args(arguments)
            .current_dir(registry.folder.path())
            .env("COSIGN_PASSWORD", "")
            .stdin(Stdio::null());
        command.output().unwrap()
    };
    assert!(cosign(&["generate-key-pair"]).status.success());
    let options = ["--tlog-upload=false", "--allow-http-registry", "--yes"];
    let signed = cosign(&[&["sign", "--key", "cosign.key"], options.as_slice(), &[&pinned]].concat());
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let verify = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry"];
    let verified = cosign(&[verify.as_slice(), &[&pinned]].concat());
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    // Another image under the same tag has no signature.
    let other = ["push", HELLO, &reference, "--annotation", "org.example.changed=yes"];
    let changed = digest(&check(&other, &nobody, 0, &[]));
    assert_ne!(changed, pushed);
    let changed = registry.name(&format!("weir/hello@{changed}"));
    assert!(!cosign(&[verify.as_slice(), &[&changed]].concat()).status.success());
}

#[test]
fn a_release_lists_what_it_has_built_and_pushed() {
    let test = "a_release_lists_what_it_has_built_and_pushed";
    let Some(registry) = Registry::open(test) else { return };
    let (nobody, out) = (nobody(), tempfile::tempdir().unwrap());
    let folder = out.path().join("release");
    let arguments = ["release", HELLO, "--out", folder.to_str().unwrap(), "--push", &registry.name("weir")];
    let printed = check(&arguments, &nobody, 0, &["hello-filter "]);
    let listed: Value = serde_json::from_slice(&fs::read(folder.join("digests.json")).unwrap()).unwrap();
    let (name, version) = (listed[0]["name"].as_str().unwrap(), listed[0]["version"].as_str().unwrap());
    let (image, reference) = (listed[0]["image"].as_str().unwrap(), listed[0]["reference"].as_str().unwrap());
    assert!(printed.trim().ends_with(image), "{printed}");
    check(&["verify", &registry.name(&format!("weir/{name}:{version}"))], &nobody, 0, &[image]);
    check(&["verify", reference], &nobody, 0, &[image]);
    let module = fs::read(folder.join(format!("{name}.wasm"))).unwrap();
    let pulled = folder.join("pulled.wasm");
    check(
        &["pull", reference, "--out", pulled.to_str().unwrap()],
        &nobody,
        0,
        &[listed[0]["module"].as_str().unwrap()],
    );
    assert_eq!(fs::read(pulled).unwrap(), module);
}

fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_manifest_pins_what_was_pushed() {
    let Some(registry) = Registry::open("a_manifest_pins_what_was_pushed") else { return };
    let login = nobody();
    let pushed = check(&["push", "canary", &registry.name("weir/canary")], &login, 0, &[]);
    let digest = digest(&pushed);
    let hex = digest.trim_start_matches("sha256:");
    let version = pushed.split('@').next().unwrap();
    let policy = ["--config", "examples/bookinfo/policies/request-routing.yaml", "--target", "wasmplugin"];
    // Asked of the registry, or known from the module: the same.
    let url = format!("url: oci://{version}");
    let sha = format!("sha256: {hex}");
    let asked = [&["manifest", version], &policy[..]].concat();
    let asked = check(&asked, &login, 0, &[&url, "pluginName: canary"]);
    assert!(asked.contains(&sha) || asked.contains(&format!("sha256: \"{hex}\"")), "{asked}");
    let prefix = registry.name("weir");
    let known = [&["manifest", "canary", "--registry", &prefix], &policy[..]].concat();
    assert_eq!(check(&known, &login, 0, &[]), asked);
    let unpinned = [&["manifest", version, "--unpinned"], &policy[..]].concat();
    assert!(!check(&unpinned, &login, 0, &[]).contains("sha256"));
    let other = registry.name("weir/other:1");
    let gone = [&["manifest", &other], &policy[..]].concat();
    check(&gone, &login, UNREADABLE, &["has no"]);
    // What Istio does not pull gets no manifest for it.
    check(&["push", "canary", version, "--cncf"], &login, 0, &[]);
    let cncf = format!("{version}-wasm");
    let refused = [&["manifest", &cncf], &policy[..]].concat();
    check(&refused, &login, UNREADABLE, &["Istio would not pull"]);
}

/// The commands of docs/operating.md, in their order; `registry.example` is the registry of the test, and `deploy/` a folder of its own.
#[test]
fn what_operators_are_told_works() {
    let Some(registry) = Registry::open("what_operators_are_told_works") else { return };
    let Some(envoy) = tools::envoy_or_skip("what_operators_are_told_works").unwrap() else { return };
    let login = nobody();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deploy")).unwrap();
    let deploy = format!("{}/deploy/", folder.path().display());
    let guide = fs::read_to_string(tools::workspace().join("docs/operating.md")).unwrap();
    let mut ran = 0;
    for line in guide.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let line =
            line.replace("registry.example", &registry.host).replace("deploy/", &deploy).replace('\'', "");
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["weir", arguments @ ..] => {
                check(arguments, &login, 0, &[]);
                ran += 1;
            }
            ["envoy", "--mode", arguments @ ..] => {
                run(envoy, &[&["--mode"], arguments].concat());
                ran += 1;
            }
            // In the foreground, or with a cluster.
            ["envoy" | "kubectl", ..] => {}
            other => panic!("nobody runs {other:?}"),
        }
    }
    assert!(ran > 10, "{ran}");
}
