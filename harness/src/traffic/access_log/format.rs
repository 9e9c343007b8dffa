//! Envoy's access log format strings, compiled to a pattern that reads lines back. Knows the operators; what a field does to an exchange
//! is in `record`.

use regex::bytes::Regex;

use super::record::{Field, Record};
use super::start_time::StartTime;

/// A compiled format string.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    fields: Vec<Field>,
}

impl Pattern {
    /// Compiles a format string; line feeds at its end do not count, nor does a `\n` that a shell or YAML left as it was.
    ///
    /// # Errors
    /// An operator is not closed, or its argument is missing or wrong. Operators that say nothing about an exchange are passed over, known
    /// or not.
    pub(super) fn compile(format: &str) -> Result<Self, String> {
        let mut pattern = String::from("(?s-u)^");
        let mut fields = Vec::new();
        let mut rest = format.trim_end_matches(['\n', '\r']);
        rest = rest.strip_suffix("\\n").unwrap_or(rest);
        while let Some(start) = rest.find('%') {
            let (before, from) = rest.split_at(start);
            pattern.push_str(&regex::escape(before));
            let after = &from[1..];
            if let Some(escaped) = after.strip_prefix('%') {
                pattern.push('%');
                rest = escaped;
                continue;
            }
            let in_place =
                |reason: String| format!("`{}`: {reason}", from.chars().take(40).collect::<String>());
            let (operator, behind) = Operator::parse(after).map_err(in_place)?;
            let field = operator.field().map_err(in_place)?;
            pattern.push_str(&format!("({})", field.pattern()));
            fields.push(field);
            rest = behind;
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push('$');
        if fields.is_empty() {
            return Err("there is no operator such as `%REQ(:PATH)%` in it".to_owned());
        }
        let regex = Regex::new(&pattern).map_err(|error| format!("is too large: {error}"))?;
        Ok(Self { regex, fields })
    }

    /// Whether a line is written so.
    pub(super) fn is_match(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// The line is not written so, or a value in it cannot be.
    pub(super) fn read(&self, line: &[u8]) -> Result<Record, String> {
        let mut record = Record::default();
        self.read_into(line, &mut record)?;
        Ok(record)
    }

    /// Reads a value of a JSON log.
    ///
    /// # Errors
    /// As [`Pattern::read`].
    pub(super) fn read_into(&self, line: &[u8], record: &mut Record) -> Result<(), String> {
        let captures = self.regex.captures(line).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            format!("`{}` … is not in the log's format", shown.escape_debug())
        })?;
        for (index, field) in self.fields.iter().enumerate() {
            if let Some(value) = captures.get(index + 1) {
                field.apply(value.as_bytes(), record)?;
            }
        }
        Ok(())
    }
}

/// `%NAME(ARGUMENT):LENGTH%`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operator<'a> {
    name: &'a str,
    argument: Option<&'a str>,
}

impl<'a> Operator<'a> {
    /// Reads an operator behind its `%`, and what follows it.
    fn parse(text: &'a str) -> Result<(Self, &'a str), String> {
        let end = text
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            .unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        if name.is_empty() {
            return Err("expected an operator such as `%PROTOCOL%`, or `%%` for a percent sign".to_owned());
        }
        let mut argument = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let close = inside.find(')').ok_or("the `(` is never closed")?;
            argument = Some(&inside[..close]);
            rest = &inside[close + 1..];
        }
        if let Some(length) = rest.strip_prefix(':') {
            let digits = length.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Err("expected a length behind `:`".to_owned());
            }
            rest = &length[digits..];
        }
        let rest = rest.strip_prefix('%').ok_or("the operator is not closed with `%`")?;
        Ok((Self { name, argument }, rest))
    }

    /// An operator that stands alone, with or without its `%`: how JSON logs sometimes name their keys.
    pub(super) fn alone(text: &'a str) -> Option<Self> {
        let inside = text.strip_prefix('%').unwrap_or(text);
        match inside.strip_suffix('%') {
            Some(bare) => Self::from_bare(bare),
            None => Self::from_bare(inside),
        }
    }

    fn from_bare(text: &'a str) -> Option<Self> {
        let (name, argument) = text.split_once('(')?;
        Some(Self { name, argument: Some(argument.strip_suffix(')')?) })
    }

    /// What the operator says about an exchange.
    ///
    /// # Errors
    /// Its argument is missing or wrong.
    pub(super) fn field(&self) -> Result<Field, String> {
        // `A?B`: the value of the first that is there. A pseudo header names what was asked for.
        let header = || {
            let argument = self.argument.ok_or_else(|| format!("`%{}%` needs a header's name", self.name))?;
            let mut names = argument.split('?').map(|name| name.trim().to_ascii_lowercase());
            let first = names.next().unwrap_or_default();
            let pseudo = argument
                .split('?')
                .map(|name| name.trim().to_ascii_lowercase())
                .find(|name| name.starts_with(':'));
            let name = pseudo.unwrap_or(first);
            if name.is_empty() { Err(format!("`%{}()%` needs a header's name", self.name)) } else { Ok(name) }
        };
        Ok(match self.name {
            "REQ" | "REQ_WITHOUT_QUERY" => Field::Request(header()?),
            "RESP" => Field::Response(header()?),
            "TRAILER" => Field::Trailer(header()?),
            "START_TIME" => Field::Start(StartTime::compile(self.argument.unwrap_or_default())?),
            "PATH" => Field::Request(":path".to_owned()),
            other => Field::of_operator(other),
        })
    }
}
