//! What the form of a cluster cannot say: what excludes each other, ranges, files.

use std::path::Path;

use super::{
    AfterSequence, BytesText, Cluster, ClusterProtocol, ClusterResponse, Distribution, Failure, FailureType,
    Fields, GrpcResponse, Latency, Rule, Step, latency,
};

/// The path of a field, and what is wrong with it.
type Fault = (String, String);

fn fault(field: &str, reason: impl Into<String>) -> Result<(), Fault> {
    Err((field.to_owned(), reason.into()))
}

/// Puts what stands before a field in front of its path.
fn within<T>(prefix: &str, result: Result<T, Fault>) -> Result<T, Fault> {
    result.map_err(|(field, reason)| {
        let dot = if field.is_empty() || prefix.is_empty() { "" } else { "." };
        (format!("{prefix}{dot}{field}"), reason)
    })
}

impl Cluster {
    /// Checks what the form cannot say. The path is relative to the cluster.
    ///
    /// # Errors
    /// The path of the first field that cannot be used, and why.
    pub fn validate(&self) -> Result<(), (String, String)> {
        for (index, rule) in self.rules.iter().enumerate() {
            within(&format!("match[{index}]"), rule.validate())?;
        }
        self.fields().validate(Some((&self.sequence, self.after_sequence)))?;
        let grpc = Self { protocol: None, ..self.clone() }.protocol() == ClusterProtocol::Http2;
        if grpc && self.protocol == Some(ClusterProtocol::Http1) {
            return fault("protocol", "`HTTP1` cannot carry the cluster's `grpc` answers; expected `HTTP2`");
        }
        Ok(())
    }

    /// Puts the content of files in the place of their names.
    ///
    /// # Errors
    /// The path of the first field whose file cannot be read, and why.
    pub(crate) fn read_files(&mut self, base: &Path) -> Result<(), (String, String)> {
        read_answer(base, self.response.as_mut(), self.grpc.as_mut())?;
        read_steps(base, &mut self.sequence)?;
        for (index, rule) in self.rules.iter_mut().enumerate() {
            let read = read_answer(base, rule.response.as_mut(), rule.grpc.as_mut())
                .and_then(|()| read_steps(base, &mut rule.sequence));
            within(&format!("match[{index}]"), read)?;
        }
        Ok(())
    }
}

fn read_steps(base: &Path, steps: &mut [Step]) -> Result<(), Fault> {
    for (index, step) in steps.iter_mut().enumerate() {
        let read = read_answer(base, step.response.as_mut(), step.grpc.as_mut());
        within(&format!("sequence[{index}]"), read)?;
    }
    Ok(())
}

fn read_answer(
    base: &Path,
    response: Option<&mut ClusterResponse>,
    grpc: Option<&mut GrpcResponse>,
) -> Result<(), Fault> {
    if let Some(response) = response {
        response.body.read(base).map_err(|reason| ("response.body.file".to_owned(), reason))?;
    }
    for (index, message) in grpc.into_iter().flat_map(|grpc| &mut grpc.messages).enumerate() {
        message.read(base).map_err(|reason| (format!("grpc.messages[{index}].file"), reason))?;
    }
    Ok(())
}

impl Rule {
    fn validate(&self) -> Result<(), Fault> {
        if self.path_prefix.is_none() && self.method.is_none() && self.headers.is_empty() {
            return fault("", "matches every request; give `path_prefix`, `method` or `headers`");
        }
        if let Some(prefix) = self.path_prefix.as_ref().filter(|prefix| !prefix.starts_with('/')) {
            return fault("path_prefix", format!("expected a path that begins with `/`, found `{prefix}`"));
        }
        self.fields().validate(Some((&self.sequence, self.after_sequence)))
    }
}

impl Step {
    fn validate(&self) -> Result<(), Fault> {
        if self.times == 0 {
            return fault("times", "expected at least 1");
        }
        self.fields().validate(None)
    }
}

impl Fields<'_> {
    fn validate(&self, sequence: Option<(&Vec<Step>, Option<AfterSequence>)>) -> Result<(), Fault> {
        let given =
            [("response", self.response.is_some()), ("echo", self.echo), ("grpc", self.grpc.is_some())];
        let mut given = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        let first = given.next();
        if let (Some(first), Some(second)) = (first, given.next()) {
            return fault(
                second,
                format!("stands beside `{first}`; give one of `response`, `echo` and `grpc`"),
            );
        }
        if let Some((steps, after)) = sequence {
            let beside = first.or(self.failure.map(|_| "failure"));
            if let Some(beside) = beside.filter(|_| !steps.is_empty()) {
                return fault(beside, "stands beside `sequence`; make it one of its steps");
            }
            if steps.is_empty() && after.is_some() {
                return fault("after_sequence", "there is no `sequence`");
            }
            for (index, step) in steps.iter().enumerate() {
                within(&format!("sequence[{index}]"), step.validate())?;
            }
        }
        within("response", self.response.map_or(Ok(()), ClusterResponse::validate))?;
        within("grpc", self.grpc.map_or(Ok(()), GrpcResponse::validate))?;
        within("latency", self.latency.map_or(Ok(()), Latency::validate))?;
        within("failure", self.failure.map_or(Ok(()), Failure::validate))
    }
}

impl ClusterResponse {
    fn validate(&self) -> Result<(), Fault> {
        if !(200..=599).contains(&self.status) {
            return fault("status", format!("expected 200 to 599, found {}", self.status));
        }
        validate_lines("headers", &self.headers)?;
        validate_lines("trailers", &self.trailers)
    }
}

impl GrpcResponse {
    fn validate(&self) -> Result<(), Fault> {
        if self.status > 16 {
            return fault("status", format!("expected 0 to 16, found {}", self.status));
        }
        validate_lines("initial_metadata", &self.initial_metadata)?;
        validate_lines("trailing_metadata", &self.trailing_metadata)
    }
}

fn validate_lines(field: &str, lines: &[(String, BytesText)]) -> Result<(), Fault> {
    for (index, (name, value)) in lines.iter().enumerate() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            let reason = format!("`{name}` is not a header name (the status is `status`)");
            return fault(&format!("{field}[{index}]"), reason);
        }
        if value.bytes().unwrap_or_default().iter().any(|byte| b"\r\n\0".contains(byte)) {
            let reason = format!("the value of `{name}` has a CR, LF or NUL, which no header can carry");
            return fault(&format!("{field}[{index}]"), reason);
        }
    }
    Ok(())
}

impl Latency {
    fn validate(&self) -> Result<(), Fault> {
        match self {
            Self::Fixed(_) | Self::Distribution(Distribution::Normal { .. }) => Ok(()),
            Self::Distribution(Distribution::Uniform { min, max }) if min > max => {
                fault("uniform.min", "expected at most `max`")
            }
            Self::Distribution(Distribution::Uniform { .. }) => Ok(()),
            Self::Distribution(Distribution::Lognormal { median, p99 }) => {
                if median.0.is_zero() {
                    return fault("lognormal.median", "expected more than 0");
                }
                if p99 < median {
                    return fault("lognormal.p99", "expected at least `median`");
                }
                Ok(())
            }
            Self::Distribution(Distribution::Percentiles(points)) => {
                if points.is_empty() {
                    return fault("percentiles", "expected at least one, such as `p50: 20ms`");
                }
                let mut known = Vec::new();
                for (name, value) in points {
                    let Some(percent) = latency::percentile(name) else {
                        let reason = "expected a percentile from `p0` to `p100`, such as `p99` or `p99.9`";
                        return fault(&format!("percentiles.{name}"), reason);
                    };
                    known.push((percent, name, value));
                }
                known.sort_by(|a, b| a.0.total_cmp(&b.0));
                for pair in known.windows(2) {
                    if let [(low, below, less), (high, name, value)] = pair
                        && (low >= high || less > value)
                    {
                        let reason =
                            format!("expected at least as much as `{below}`, and each percentile once");
                        return fault(&format!("percentiles.{name}"), reason);
                    }
                }
                Ok(())
            }
        }
    }
}

impl Failure {
    fn validate(&self) -> Result<(), Fault> {
        if !(0.0..=100.0).contains(&self.percentage) {
            return fault("percentage", format!("expected 0 to 100, found {}", self.percentage));
        }
        if self.after_bytes.is_some() && self.kind != FailureType::ResetInBody {
            return fault("after_bytes", "is of `RESET_IN_BODY` only");
        }
        Ok(())
    }
}
