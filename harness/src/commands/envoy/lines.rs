//! What an Envoy writes, line by line, as a reader wants it: what plugins log, and what came of each request. Pure.

use serde_json::Value;

use crate::envoy::bootstrap::Plugin;
use crate::envoy::reading::{self, LogEntry};
use crate::style::{Style, paint, printable};

/// What Envoy warns of at each start, and what is meant here.
const KNOWN: &str = "There is no configured limit to the number of allowed active downstream connections.";

/// Reads one line after another; a message may have several.
pub(super) struct Lines<'a> {
    plugins: &'a [Plugin],
    color: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(plugins: &'a [Plugin], color: bool) -> Self {
        Self { plugins, color }
    }

    /// A line of Envoy's log; empty for what nobody waits for.
    pub(super) fn log(&self, line: &str) -> String {
        let Some(LogEntry { time, level, plugin, message }) = reading::log_entry(line, self.plugins) else {
            // The message of the line before goes on.
            return format!("{}{}\n", " ".repeat(13), printable(line.as_bytes()));
        };
        let is_of_envoy = plugin.is_none();
        if is_of_envoy && (matches!(level, "trace" | "debug" | "info") || message.starts_with(KNOWN)) {
            return String::new();
        }
        let who = match (&plugin, self.plugins) {
            (None, _) => "envoy",
            // Of a root context Envoy does not name the plugin.
            (Some(name), [only]) if name.is_empty() => only.name.as_str(),
            (Some(name), _) if name.is_empty() => "(plugin)",
            (Some(name), _) => name,
        };
        let style = match level {
            "trace" | "debug" => Style::Dim,
            "warning" => Style::Yellow,
            "error" | "critical" => Style::Red,
            _ => Style::Green,
        };
        let (time, who) = (self.paint(Style::Dim, time), self.paint(Style::Cyan, who));
        let message = printable(message.as_bytes());
        let message = if style == Style::Green { message } else { self.paint(style, &message) };
        format!("{time} {} {who}  {message}\n", self.paint(style, &format!("{level:<8}")))
    }

    /// An entry of the access log.
    pub(super) fn access(&self, line: &str) -> String {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            return format!("{}\n", printable(line.as_bytes()));
        };
        let text = |field: &str| match entry.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text == "-" => String::new(),
            Some(Value::String(text)) => printable(text.as_bytes()),
            Some(other) => other.to_string(),
        };
        let code = text("code");
        let style = match code.as_bytes().first() {
            Some(b'1'..=b'3') => Style::Green,
            Some(b'4') => Style::Yellow,
            _ => Style::Red,
        };
        let arrow = |cluster: String| if cluster.is_empty() { cluster } else { format!(" → {cluster}") };
        let route = text("route");
        let route = if route.is_empty() { "(no route name)".to_owned() } else { route };
        let flags = Some(text("flags")).filter(|flags| !flags.is_empty());
        let parts = [
            self.paint(Style::Bold, &format!("{} {}{}", text("method"), text("authority"), text("path"))),
            format!("{route}{}", self.paint(Style::Cyan, &arrow(text("cluster")))),
            flags.map_or_else(|| text("details"), |flags| format!("{flags} {}", text("details"))),
            format!("{} ms", text("duration")),
        ];
        let (time, code) = (self.paint(Style::Dim, &text("time")), self.paint(style, &format!("{code:<8}")));
        format!("{time} {code} {}\n", parts.join("  "))
    }

    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.color, style, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[2026-05-04 09:00:00.123][12][warning][wasm] [source/extensions/common/wasm/context.cc:1196] wasm log";

    fn lines(plugins: &[&str], read: impl Fn(&Lines<'_>) -> String) -> String {
        let plugins: Vec<Plugin> =
            plugins.iter().map(|name| Plugin { name: (*name).to_owned(), ..Plugin::default() }).collect();
        read(&Lines::new(&plugins, false))
    }

    #[test]
    fn log_lines_say_who_and_how_bad() {
        let of = |plugins: &[&str], rest: &str| lines(plugins, |lines| lines.log(&format!("{LOG}{rest}")));
        assert_eq!(of(&["a", "b"], " b: hot"), "09:00:00.123 warning  b  hot\n");
        assert_eq!(of(&["a", "b"], ": root"), "09:00:00.123 warning  (plugin)  root\n");
        assert_eq!(of(&["a"], ": root"), "09:00:00.123 warning  a  root\n");
        let own = "[2026-05-04 09:00:00.123][12][error][main] [source/server/server.cc:1] bad";
        assert_eq!(lines(&["a"], |lines| lines.log(own)), "09:00:00.123 error    envoy  bad\n");
        assert_eq!(lines(&["a"], |lines| lines.log(&own.replace("[error]", "[debug]"))), "");
        assert_eq!(lines(&["a"], |lines| lines.log("more\u{1b}[1m")), "             more\\u{1b}[1m\n");
    }

    #[test]
    fn requests_are_told_in_a_line() {
        let entry = r#"{"time": "09:00:00.123", "method": "GET", "authority": "a", "path": "/x", "code": 503, "details": "no_healthy_upstream", "flags": "UH", "route": "r", "cluster": "v1", "duration": 7}"#;
        let want = "09:00:00.123 503      GET a/x  r → v1  UH no_healthy_upstream  7 ms\n";
        assert_eq!(lines(&[], |lines| lines.access(entry)), want);
        let entry = r#"{"time": "09:00:00.123", "method": "GET", "authority": "a", "path": "/x", "code": 200, "details": "via_upstream", "flags": "-", "route": null, "cluster": null, "duration": 0}"#;
        let want = "09:00:00.123 200      GET a/x  (no route name)  via_upstream  0 ms\n";
        assert_eq!(lines(&[], |lines| lines.access(entry)), want);
    }

    #[test]
    fn colours_are_by_level_and_status() {
        let lines = Lines::new(&[], true);
        assert!(lines.log(&format!("{LOG}: hot")).contains("\x1b[33mhot\x1b[0m"));
        assert!(lines.access(r#"{"code": 500}"#).contains("\x1b[31m500"));
    }
}
