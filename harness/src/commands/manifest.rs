//! `weir manifest`: filters and their configurations as manifests of Istio and Envoy Gateway, or as Envoy's configuration.

mod modules;
mod parse;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::artifact::AccessArgs;
use super::check::Workshop;
use super::{Exit, Failure, Run, Terminal};
use crate::check::output::{self as findings, Format};
use crate::check::{self, Report, Runner, Severity, Source, rules};
use crate::files;
use crate::manifest::{self, Cluster, Gateway, Placement, Plan, Route, Target, TargetRef};
use crate::scenario::FailurePolicy;
use modules::{Module, Tried};

/// Write the manifest for filters, their configurations and a target
///
/// Filters are named in chain order. Each configuration is first checked against its module, by its schema and by running it, and the manifest is checked as
/// `weir check` does; what is refused is not written. Names of clusters in a configuration become those of the target.
#[derive(Args)]
#[command(after_help = "Examples:
  weir manifest canary --config policy.yaml --target wasmplugin --registry registry.example/weir --selector app=productpage
  weir manifest registry.example/weir/canary:0.1.0 --config policy.yaml --target wasmplugin       asks the registry for the digest
  weir manifest mirror --config mirror.yaml --target trafficextension --registry registry.example/weir \\
    --cluster shadow=shadow.default.svc.cluster.local:8080 --mode SERVER --port 9080
  weir manifest rate_limit canary --config limits.yaml --config policy.yaml --target envoyextensionpolicy \\
    --registry registry.example/weir --target-ref Gateway/eg
  weir manifest canary --config policy.yaml --target envoyextensionpolicy --registry registry.example/weir \\
    --target-ref HTTPRoute/reviews --gateway eg --route x-canary-arm:v2=v2 --route v1 \\
    --cluster v1=reviews-v1.default.svc.cluster.local:9080 --cluster v2=reviews-v2.default.svc.cluster.local:9080
  weir manifest canary --config policy.yaml --target envoy-yaml --route x-canary-arm:v2=v2 --route v1 \\
    --cluster v1=127.0.0.1:9083 --cluster v2=127.0.0.1:9084 --out envoy.yaml && envoy -c envoy.yaml
  weir manifest fault --config fault.yaml --target envoyfilter --selector app=ratings | kubectl apply -f -
Targets: wasmplugin, trafficextension (Istio since 2026), envoyfilter (a file of the proxy), envoyfilter-ecds (an image),
envoyextensionpolicy (Envoy Gateway), envoy (entries of http_filters and clusters), envoy-yaml (ready to start). See docs/operating.md.

Exit codes: 0 written; 2 not found, or a flag that is wrong or missing; 3 the configuration, or what was made of it, is refused; 4 a module trapped")]
pub(super) struct Manifest {
    /// Filters of this workspace, crates' folders, `.wasm` files, or images (host/repository:tag, oci:FOLDER[:TAG]), in chain order
    #[arg(value_name = "FILTER|FILE.wasm|REF", required = true)]
    filters: Vec<String>,
    /// A filter's configuration (YAML becomes JSON): the first for the first filter, and so on, or by name; may be repeated
    #[arg(long = "config", value_name = "[FILTER=]FILE")]
    configs: Vec<String>,
    /// Who reads the manifest
    #[arg(long, value_enum)]
    target: Target,
    /// Where to write; default: standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The prefix of the images, as `weir release --push` has it: PREFIX/<filter>:<version>
    #[arg(long, value_name = "PREFIX", value_parser = parse::prefix)]
    registry: Option<String>,
    /// Where the module is pulled from, instead: an image, or a file over https; one filter only
    #[arg(long, value_name = "URL", conflicts_with = "registry", value_parser = parse::url)]
    url: Option<String>,
    /// Pin this: the image's digest, or the module's for a file over https. Default: that of the image that is named, else that which
    /// `weir push` gives the module
    #[arg(long, value_name = "DIGEST", value_parser = parse::digest)]
    digest: Option<String>,
    /// Do not pin a digest: whoever can move the tag changes what runs
    #[arg(long, conflicts_with = "digest")]
    unpinned: bool,
    /// The folder that proxies have modules in, as DIR/<filter>.wasm. Default: /var/lib/weir for envoyfilter; for Envoy where the module is now
    #[arg(long, value_name = "DIR", value_parser = parse::folder)]
    modules: Option<String>,
    /// The resource's name; one filter only. Default: the filter's, with `-` for `_`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The resources' namespace
    #[arg(long, short = 'n', default_value = "default")]
    namespace: String,
    /// A label of the workloads; may be repeated. Default: all workloads of the namespace
    #[arg(long, value_name = "LABEL=VALUE", value_parser = parse::label)]
    selector: Vec<(String, String)>,
    /// A resource to attach to, such as Gateway/eg, HTTPRoute/backend (Envoy Gateway) or Service/reviews (waypoints); may be repeated
    #[arg(long, value_name = "KIND/NAME[/SECTION]", value_parser = parse::target)]
    target_ref: Vec<TargetRef>,
    /// Istio's phase: before its authentication, its authorization or its statistics. Default: before the router
    #[arg(long, value_parser = ["AUTHN", "AUTHZ", "STATS"])]
    phase: Option<String>,
    /// Istio's priority within the phase; of several filters that of the last of WasmPlugins, the first of EnvoyFilters. Default: none, 10 for several
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Traffic that a sidecar receives (SERVER) or sends (CLIENT). Default: both
    #[arg(long, value_parser = ["CLIENT", "SERVER", "CLIENT_AND_SERVER"])]
    mode: Option<String>,
    /// Only this port; may be repeated
    #[arg(long, value_name = "PORT", value_parser = parse::port)]
    port: Vec<u16>,
    /// What happens after a trap. FAIL_RELOAD makes a fresh VM; FAIL_OPEN helps later requests only
    #[arg(long, value_enum, default_value = "FAIL_CLOSED")]
    failure_policy: Policy,
    /// The Secret with the registry's credentials, `kubernetes.io/dockerconfigjson` in the same namespace
    #[arg(long, value_name = "NAME", value_parser = parse::object)]
    image_pull_secret: Option<String>,
    /// When the image is pulled again
    #[arg(long, value_parser = ["IfNotPresent", "Always"])]
    image_pull_policy: Option<String>,
    /// An environment variable of the VM; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::pair)]
    env: Vec<(String, String)>,
    /// An environment variable that the VM gets from the proxy's, as for secrets; may be repeated
    #[arg(long, value_name = "NAME")]
    host_env: Vec<String>,
    /// Envoy's vm_id: plugins with the same share shared data. Default: empty, as Istio has it
    #[arg(long, value_name = "ID")]
    vm_id: Option<String>,
    /// Where a cluster is that a configuration or a route names: an address, with `,http2` (gRPC) and `,tls` behind it, or a cluster that the proxies
    /// have, such as 'outbound|9080|v1|reviews.default.svc.cluster.local'; may be repeated
    #[arg(long = "cluster", value_name = "NAME=HOST:PORT|CLUSTER", value_parser = parse::cluster)]
    clusters: Vec<(String, Cluster)>,
    /// Where requests go that have this header, as the filter sets it, and last where all others go; may be repeated. For envoy-yaml; of Istio a
    /// VirtualService and its subsets, of Envoy Gateway an HTTPRoute
    #[arg(long = "route", value_name = "[HEADER:VALUE=]CLUSTER")]
    routes: Vec<Route>,
    /// The Gateway whose Envoys get the clusters and routes of envoyextensionpolicy, where the policy is attached to a route
    #[arg(long, value_name = "[NAMESPACE/]NAME", value_parser = parse::gateway)]
    gateway: Option<Gateway>,
    /// A hostname that the HTTPRoute of envoyextensionpolicy is for, such as reviews.example.com; may be repeated. Default: all of the Gateway's
    #[arg(long = "hostname", value_name = "HOST", value_parser = parse::hostname)]
    hostnames: Vec<String>,
    /// Envoy's `route_config` as YAML or JSON, in place of `--route`; for envoy-yaml
    #[arg(long = "routes", value_name = "FILE", conflicts_with = "routes")]
    route_config: Option<PathBuf>,
    /// Where Envoy listens; for envoy-yaml
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:10000", value_parser = parse::address)]
    listen: (String, u16),
    /// Where Envoy's admin interface listens; for envoy-yaml
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901", value_parser = parse::address)]
    admin: (String, u16),
    #[command(flatten)]
    access: AccessArgs,
}

/// Envoy's `failure_policy`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Policy {
    /// Requests get 503 until the configuration changes
    #[value(name = "FAIL_CLOSED")]
    Closed,
    /// The failing request gets 503, later ones pass without the filter
    #[value(name = "FAIL_OPEN")]
    Open,
    /// As closed, and a fresh VM is made after a back-off
    #[value(name = "FAIL_RELOAD")]
    Reload,
}

impl Run for Manifest {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        once("--selector", self.selector.iter().map(|(label, _)| label))?;
        once("--cluster", self.clusters.iter().map(|(name, _)| name))?;
        once("--env", self.env.iter().map(|(name, _)| name).chain(&self.host_env))?;
        if self.listen == self.admin && self.listen.1 != 0 {
            let (host, port) = &self.listen;
            return Err(anyhow!(
                "`--admin`: `{host}:{port}` is where Envoy listens; expected another address"
            )
            .into());
        }
        let modules = modules::read(&self)?;
        let mut runner = Tried::new(Workshop::new(&modules::named(&modules), None)?, &modules);
        for module in &modules {
            let Some((source, bytes)) = &module.source else { continue };
            let plugin = check::Plugin {
                names: vec![module.name.clone()],
                root_id: module.name.clone(),
                configuration: Some(bytes.clone()),
                env: self.env.iter().cloned().collect(),
                ..check::Plugin::default()
            };
            let report = check::configuration(source, plugin, &mut runner);
            if let Some(exit) = refused(&report, std::slice::from_ref(source), terminal)? {
                return Ok(exit);
            }
        }
        let text = manifest::render(self.target, &self.plan(&modules)?)?;
        if let Some(exit) = judged(&text, &mut runner, terminal)? {
            return Ok(exit);
        }
        match self.out.as_deref() {
            Some(file) if file.as_os_str() != "-" => files::replace(file, text.as_bytes())
                .with_context(|| format!("cannot write `{}`", file.display()))?,
            _ => io::stdout().write_all(text.as_bytes())?,
        }
        Ok(Exit::Done)
    }
}

/// Of two values for one name the last would win, and nobody know.
fn once<'a>(flag: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(anyhow!("`{flag}`: `{name}` is given twice").into());
        }
    }
    Ok(())
}

impl Manifest {
    fn plan(&self, modules: &[Module]) -> Result<Plan, Failure> {
        let placement = Placement {
            selector: self.selector.clone(),
            targets: self.target_ref.clone(),
            phase: self.phase.clone(),
            priority: self.priority,
            mode: self.mode.clone(),
            ports: self.port.clone(),
        };
        let plugins = modules.iter().map(|module| modules::plugin(self, module)).collect::<Result<_, _>>()?;
        Ok(Plan {
            plugins,
            namespace: self.namespace.clone(),
            placement,
            failure_policy: match self.failure_policy {
                Policy::Closed => FailurePolicy::FailClosed,
                Policy::Open => FailurePolicy::FailOpen,
                Policy::Reload => FailurePolicy::FailReload,
            },
            pull_secret: self.image_pull_secret.clone(),
            pull_policy: self.image_pull_policy.clone(),
            env: self.env.clone(),
            host_env: self.host_env.clone(),
            vm_id: self.vm_id.clone(),
            clusters: self.clusters.iter().cloned().collect(),
            routes: self.routes.clone(),
            gateway: self.gateway.clone(),
            hostnames: self.hostnames.clone(),
            route_config: self.route_config.as_deref().map(crate::yaml::read).transpose()?,
            listen: self.listen.clone(),
            admin: self.admin.clone(),
        })
    }
}

/// What was made, as `weir check` sees it: an error ends it, warnings are said.
fn judged(text: &str, runner: &mut dyn Runner, terminal: Terminal) -> Result<Option<Exit>, Failure> {
    let source = Source { file: "manifest".to_owned(), text: text.to_owned(), is_named: true };
    let sources = [source];
    let mut report = check::check(&sources, runner);
    // The file is read once it is there.
    report.findings.retain(|finding| finding.severity != Severity::Note);
    if report.findings.is_empty() {
        return Ok(None);
    }
    if let Some(exit) = refused(&report, &sources, terminal)? {
        return Ok(Some(exit));
    }
    for finding in &report.findings {
        eprintln!("warning: `{}`: {}", finding.path, finding.message);
    }
    Ok(None)
}

/// Prints the findings where one is an error, and says how that ends.
fn refused(report: &Report, sources: &[Source], terminal: Terminal) -> Result<Option<Exit>, Failure> {
    if report.count(Severity::Error) == 0 {
        return Ok(None);
    }
    let mut err = io::stderr().lock();
    let color = terminal.color.is_on(&err);
    err.write_all(findings::render(report, sources, Format::Text, color).as_bytes())?;
    let is = |rule: &rules::Rule| report.findings.iter().any(|finding| finding.rule == rule.id);
    Ok(Some(if is(&rules::YAML) {
        Exit::Usage
    } else if is(&rules::TRAPPED) {
        Exit::Trapped
    } else {
        Exit::Refused
    }))
}
