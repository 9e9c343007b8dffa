//! The rows of what Istio's own fetcher was seen to take and to refuse.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Contents, Image, Manifest, archive};
use super::*;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A store in memory.
#[derive(Default)]
struct Memory {
    blobs: RefCell<BTreeMap<String, Vec<u8>>>,
    top: RefCell<String>,
}

impl Memory {
    fn put(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.blobs.borrow_mut().insert(digest.clone(), bytes.to_vec());
        digest
    }

    /// A layer of that type: a descriptor.
    fn layer(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": media_type, "digest": self.put(bytes), "size": bytes.len()})
    }

    fn manifest(&self, media_type: &str, layers: &[Value]) -> String {
        let config = self.layer("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        let digest = self.put(manifest.to_string().as_bytes());
        self.top.replace(digest.clone());
        digest
    }

    fn index(&self, children: &[(Option<(&str, &str)>, String)]) {
        let manifests: Vec<Value> = children
            .iter()
            .map(|(platform, digest)| {
                let mut entry = json!({"mediaType": OCI, "digest": digest, "size": 1});
                if let (Some((os, architecture)), Some(entry)) = (platform, entry.as_object_mut()) {
                    entry.insert("platform".into(), json!({"os": os, "architecture": architecture}));
                }
                entry
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
        let digest = self.put(index.to_string().as_bytes());
        self.top.replace(digest);
    }

    fn image(&self, image: &Image) -> String {
        for blob in &image.blobs {
            self.put(&blob.bytes);
        }
        let digest = self.put(&image.manifest);
        self.top.replace(digest.clone());
        digest
    }
}

impl Store for Memory {
    fn place(&self) -> String {
        "memory".into()
    }

    fn manifest(&self, digest: Option<&str>) -> Result<Manifest, OciError> {
        let digest = digest.map_or_else(|| self.top.borrow().clone(), str::to_owned);
        let bytes = self.blobs.borrow().get(&digest).cloned().unwrap_or_default();
        Ok(Manifest { bytes, digest })
    }

    fn blob(&self, descriptor: &oci_client::manifest::OciDescriptor) -> Result<Vec<u8>, OciError> {
        let missing = || OciError::NotFound { place: "memory".into(), what: descriptor.digest.clone() };
        self.blobs.borrow().get(&descriptor.digest).cloned().ok_or_else(missing)
    }
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive::pack(files.iter().copied()).unwrap().bytes
}

/// A module that Envoy would load.
fn module_bytes() -> Vec<u8> {
    wat::parse_str(
        r#"(module (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) i32.const 0))"#,
    )
    .unwrap()
}

fn contents() -> Contents {
    Contents { wasm: module_bytes(), ..Contents::default() }
}

/// What Istio does with it: `yes` or the reason.
#[track_caller]
fn istio(memory: &Memory, asked: &Asked) -> String {
    let report = judge(memory, asked).unwrap();
    let verdict = report.verdicts.into_iter().find(|verdict| verdict.consumer == Consumer::Istio).unwrap();
    if verdict.pulls { "yes".to_owned() } else { verdict.reason }
}

#[track_caller]
fn check(make: impl FnOnce(&Memory), expected: &str) {
    let memory = Memory::default();
    make(&memory);
    let found = istio(&memory, &Asked::default());
    assert!(found.contains(expected), "expected `{expected}`, found `{found}`");
}

#[test]
fn the_shapes_that_are_pulled() {
    let wasm = module_bytes();
    let plugin = || tar(&[("plugin.wasm", &wasm)]);
    check(|m| drop(m.image(&Image::compat(&contents()).unwrap())), "yes");
    check(|m| drop(m.manifest(DOCKER, &[m.layer(DOCKER_TAR, &plugin())])), "yes");
    let config = |m: &Memory| m.layer("application/vnd.module.wasm.config.v1+json", b"{}");
    check(|m| drop(m.manifest(OCI, &[config(m), m.layer(CONTENT, &wasm)])), "yes");
    check(
        |m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[("a.json", b"{}")])), m.layer(TAR, &plugin())])),
        "yes",
    );
    let three = tar(&[("manifest.yaml", b""), ("config.schema.json", b"{}"), ("plugin.wasm", &wasm)]);
    check(|m| drop(m.manifest(OCI, &[m.layer(TAR, &three)])), "yes");
    check(|m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[("deep/er/plugin.wasm", &wasm)]))])), "yes");
    check(|m| drop(m.manifest(OCI, &[m.layer("text/yaml", b"spec"), m.layer(TAR, &plugin())])), "yes");
    check(|m| m.index(&[(Some(("linux", "amd64")), m.manifest(OCI, &[m.layer(TAR, &plugin())]))]), "yes");
    check(|m| m.index(&[(None, m.manifest(OCI, &[m.layer(TAR, &plugin())]))]), "yes");
    check(
        |m| {
            let compat = m.manifest(OCI, &[m.layer(TAR, &plugin())]);
            let cncf = m.image(&Image::cncf(&contents()).unwrap());
            m.index(&[(Some(("linux", "amd64")), compat), (Some(("wasip1", "wasm")), cncf)]);
        },
        "yes",
    );
    check(|m| drop(m.manifest(OCI, &[m.layer(CONTENT, &wasm), m.layer("application/wasm", &wasm)])), "yes");
}

#[test]
fn the_shapes_that_are_refused() {
    let wasm = module_bytes();
    check(|m| drop(m.image(&Image::cncf(&contents()).unwrap())), "the CNCF's Wasm artifact");
    check(
        |m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[("filter.wasm", &wasm)]))])),
        "no `plugin.wasm` in the last layer; it holds `filter.wasm`",
    );
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    check(|m| drop(m.manifest(OCI, &[m.layer(zstd, b"\x28\xb5\x2f\xfd")])), "tar+zstd");
    check(
        |m| drop(m.manifest(OCI, &[m.layer(TAR, b"\x28\xb5\x2f\xfd")])),
        "is not the gzip-compressed archive",
    );
    check(
        |m| m.index(&[(Some(("wasip1", "wasm")), m.image(&Image::cncf(&contents()).unwrap()))]),
        "an index without an image for linux/amd64, which is asked for on every machine; it has wasip1/wasm",
    );
    // The same bytes twice: the type of both is that of the first.
    check(
        |m| drop(m.manifest(OCI, &[m.layer("application/wasm", &wasm), m.layer(CONTENT, &wasm)])),
        "neither is the last layer",
    );
    let three = |m: &Memory| [m.layer("a/b", b"1"), m.layer("a/b", b"2"), m.layer(CONTENT, &wasm)];
    check(|m| drop(m.manifest(OCI, &three(m))), "nor are there two layers");
    check(
        |m| drop(m.manifest(DOCKER, &[m.layer(TAR, &tar(&[("plugin.wasm", &wasm)]))])),
        "a Docker image whose last layer is",
    );
    check(|m| drop(m.manifest(OCI, &[])), "no layer");
    check(|m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[("plugin.wasm", b"MZ")]))])), "does not begin with");
    check(|m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[("plugin.wasm", WASM)]))])), "Envoy refuse it");
    let large = json!({"mediaType": TAR, "digest": digest(b""), "size": 300_000_000_000_u64});
    check(|m| drop(m.manifest(OCI, std::slice::from_ref(&large))), "256 MiB");
}

#[test]
fn indexes_of_indexes_are_followed_and_end() {
    let memory = Memory::default();
    let image = memory.image(&Image::compat(&contents()).unwrap());
    memory.index(&[(None, image.clone())]);
    let inner = memory.top.borrow().clone();
    memory.index(&[(Some(("linux", "arm64")), "sha256:0".into()), (Some(("linux", "amd64")), inner)]);
    let report = judge(&memory, &Asked::default()).unwrap();
    assert!(report.verdicts[0].pulls, "{report:?}");
    assert_eq!(report.manifest_digest, Some(image));
    for _ in 0..3 {
        let inner = memory.top.borrow().clone();
        memory.index(&[(None, inner)]);
    }
    assert!(istio(&memory, &Asked::default()).contains("an index of an index"));
    memory.index(&[(None, "../../etc/passwd".into())]);
    let error = judge(&memory, &Asked::default()).unwrap_err().to_string();
    assert!(error.contains("`../../etc/passwd` is no digest; expected `sha256:`"), "{error}");
}

#[test]
fn what_nobody_can_pull_says_why() {
    check(
        |m| {
            let digest = m.put(br#"{"schemaVersion": 1, "name": "x", "fsLayers": []}"#);
            m.top.replace(digest);
        },
        "a manifest of Docker's schema version 1",
    );
    let negative = json!({"mediaType": TAR, "digest": digest(b""), "size": -5});
    check(|m| drop(m.manifest(OCI, std::slice::from_ref(&negative))), "says that a layer has -5 bytes");
    check(
        |m| drop(m.manifest(OCI, &[m.layer(TAR, &tar(&[]))])),
        "no `plugin.wasm` in the last layer; it holds nothing",
    );
    check(
        |m| {
            m.index(
                &(0..20)
                    .map(|n| (Some(("linux", ["arm64", "s390x"][n % 2])), String::new()))
                    .collect::<Vec<_>>(),
            )
        },
        "it has linux/arm64, linux/s390x",
    );
}

#[test]
fn a_pin_is_the_images_digest_not_the_indexs() {
    let memory = Memory::default();
    let image = memory.image(&Image::compat(&contents()).unwrap());
    let asked = |pinned: &str| Asked { pinned: Some(pinned.to_owned()), ..Asked::default() };
    assert_eq!(istio(&memory, &asked(&image)), "yes");
    assert_eq!(istio(&memory, &asked(image.trim_start_matches("sha256:"))), "yes");
    assert!(istio(&memory, &asked(&digest(b"other"))).contains("is pinned, but the image is"));
    memory.index(&[(Some(("linux", "amd64")), image.clone())]);
    let index = memory.top.borrow().clone();
    assert!(istio(&memory, &asked(&index)).contains("which is the index"));
    assert_eq!(istio(&memory, &asked(&image)), "yes");
}

#[test]
fn registries_that_istio_turns_away_from() {
    let memory = Memory::default();
    memory.image(&Image::compat(&contents()).unwrap());
    let with = |header: &str| Asked { challenge: Some(Challenge::parse(header)), ..Asked::default() };
    for header in [
        "Basic realm=\"basic-realm\"",
        "Bearer realm=\"http://127.0.0.1:5001/token\"",
        "Bearer realm=\"https://localhost/token\"",
        "Bearer realm=\"https://10.1.2.3/token\"",
        "Bearer realm=\"https://[fd00::1]:8443/token\"",
        "Bearer realm=\"ftp://auth.example/token\"",
    ] {
        assert!(istio(&memory, &with(header)).contains("the registry answers 401"), "{header}");
        let report = judge(&memory, &with(header)).unwrap();
        assert!(
            report.verdicts.iter().any(|verdict| verdict.consumer == Consumer::EnvoyGateway && verdict.pulls)
        );
    }
    assert_eq!(istio(&memory, &with("Bearer realm=\"https://auth.example/token\",service=\"x\"")), "yes");
    let report = judge(&memory, &with("Bearer realm=\"https://auth.example/token\"")).unwrap();
    assert!(report.verdicts[0].notes[0].contains("imagePullSecret"));
}

#[test]
fn what_is_no_manifest_is_an_error() {
    for bytes in ["", "{}", "[]", "not json", r#"{"schemaVersion":2,"layers":3}"#] {
        let memory = Memory::default();
        let digest = memory.put(bytes.as_bytes());
        memory.top.replace(digest);
        assert!(matches!(judge(&memory, &Asked::default()), Err(OciError::Manifest { .. })), "{bytes}");
    }
}
