//! Envoy's `WeightedCluster`.

use std::sync::Arc;

use serde_json::Value;

use super::Request;
use super::mutation::Mutations;
use super::parse::{RouteError, object};

/// Clusters with shares.
#[derive(Debug)]
pub(super) struct Weighted {
    arms: Vec<Arm>,
    total: u64,
    /// The header whose number decides instead of a random one.
    header: Option<String>,
}

#[derive(Debug)]
pub(super) struct Arm {
    pub(super) name: Arc<str>,
    pub(super) cluster_header: Option<String>,
    pub(super) mutations: Mutations,
    pub(super) host_rewrite: Option<String>,
    weight: u64,
}

impl Weighted {
    pub(super) fn parse(value: &Value, path: &str) -> Result<Self, RouteError> {
        let mut fields = object(value, path)?;
        fields.ignore(&["runtime_key_prefix", "total_weight"]);
        let header = fields.string("header_name")?.map(|name| name.to_ascii_lowercase());
        if let Some((value, path)) = fields.child("random_value_specifier") {
            return Err(super::parse::wrong(&path, "`header_name` beside `clusters`", value));
        }
        let mut arms = Vec::new();
        for (value, path) in fields.list("clusters")? {
            let mut fields = object(value, &path)?;
            fields.ignore(&["metadata_match", "typed_per_filter_config"]);
            let name = fields.string("name")?.unwrap_or_default();
            let cluster_header = fields.string("cluster_header")?.map(|name| name.to_ascii_lowercase());
            if name.is_empty() == cluster_header.is_none() {
                return Err(fields.error("", "exactly one of name and cluster_header is needed"));
            }
            let weight = u64::from(fields.unsigned("weight")?.unwrap_or(0));
            let host_rewrite = fields.string("host_rewrite_literal")?;
            let mutations = Mutations::parse(&mut fields)?;
            fields.finish()?;
            arms.push(Arm { name: name.into(), cluster_header, mutations, host_rewrite, weight });
        }
        let total = arms.iter().map(|arm| arm.weight).sum();
        if total == 0 || total > u64::from(u32::MAX) {
            return Err(
                fields.error("clusters", "the weights must add up to 1 at least and to 4294967295 at most")
            );
        }
        fields.finish()?;
        Ok(Self { arms, total, header })
    }

    /// The arm of a request: by the number in the header (modulo the sum of weights) where there is one, else by the stream's random
    /// number.
    pub(super) fn pick(&self, request: &Request<'_>) -> usize {
        let given = self.header.as_ref().and_then(|name| request.headers.get(name.as_bytes()));
        let given = given.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let point = given.unwrap_or(request.random) % self.total;
        let mut end = 0;
        let arm = self.arms.iter().position(|arm| {
            end += arm.weight;
            point < end
        });
        arm.unwrap_or_default()
    }

    pub(super) fn arm(&self, index: usize) -> Option<&Arm> {
        self.arms.get(index)
    }
}
