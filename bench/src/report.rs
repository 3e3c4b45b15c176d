//! What is told in the end: a table for people, and JSON with everything that is needed to compare it later.

use crate::distribution::Shape;
use crate::load::{Loaded, Measured};
use crate::machine::Machine;
use crate::options::RunOptions;
use crate::plan::{Kind, shape};
use crate::record::KindRecord;
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;
/// An open loop that does less of what was asked has fallen behind.
const KEPT_UP: f64 = 0.99;

/// A run and its numbers.
#[derive(Serialize)]
pub(crate) struct Report {
    schema: u32,
    bench_version: &'static str,
    label: Option<String>,
    started_unix_ms: u64,
    machine: Machine,
    endpoints: Vec<Endpoint>,
    options: RunOptions,
    /// The shape that held.
    distribution: Shape,
    loaded: Option<Loaded>,
    /// How long it was measured: to the last answer, if that came after the planned end.
    measured_seconds: f64,
    per_second: f64,
    operations: Vec<Row>,
    /// How many operations failed, by status and code.
    errors: BTreeMap<String, u64>,
    open_loop: Option<OpenLoop>,
}

/// A node that was asked.
#[derive(Serialize)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// What its metrics say.
    pub(crate) version: Option<String>,
}

/// The numbers of one kind of operation. Latencies are in milliseconds, of those that were done.
#[derive(Default, Serialize)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// Whether the rate was kept.
#[derive(Serialize)]
struct OpenLoop {
    asked_per_second: f64,
    achieved_per_second: f64,
    /// How many requests were due and never sent. Their latency is in no number.
    unsent: u64,
    behind: bool,
}

impl Report {
    /// Puts together what a run gave.
    pub(crate) fn new(
        options: RunOptions,
        endpoints: Vec<Endpoint>,
        started: SystemTime,
        loaded: Option<Loaded>,
        measured: &Measured,
    ) -> Self {
        let Measured { records, seconds, schedule } = measured;
        let seconds = *seconds;
        let achieved_per_second = (records.count() + records.errors()) as f64 / seconds;
        let open_loop = schedule.map(|(asked_per_second, unsent)| OpenLoop {
            asked_per_second,
            achieved_per_second,
            unsent,
            behind: unsent > 0 || achieved_per_second < asked_per_second * KEPT_UP,
        });
        Report {
            schema: SCHEMA,
            bench_version: env!("CARGO_PKG_VERSION"),
            label: options.label.clone(),
            started_unix_ms: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            machine: Machine::here(),
            endpoints,
            distribution: shape(&options),
            options,
            loaded,
            measured_seconds: seconds,
            per_second: records.count() as f64 / seconds,
            operations: records.kinds().map(|(kind, record)| Row::new(kind, record, seconds)).collect(),
            errors: records.errors_by_code().clone(),
            open_loop,
        }
    }

    /// Writes all of it to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// What a person reads.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<18}{:>10}{:>8}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "operation", "count", "errors", "per second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
        );
        for row in &self.operations {
            let Row { operation, count, errors, per_second, .. } = row;
            let _never = write!(text, "{operation:<18}{count:>10}{errors:>8}{per_second:>11.0}");
            for ms in [row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms] {
                let shown = if *count > 0 { format!("{ms:.3}") } else { "-".into() };
                let _never = write!(text, "{shown:>10}");
            }
            text.push('\n');
        }
        for (code, count) in &self.errors {
            let _never = writeln!(text, "error {code}: {count} times");
        }
        if let Some(OpenLoop { asked_per_second, achieved_per_second, unsent, behind }) = self.open_loop {
            let _never =
                writeln!(text, "open loop: {achieved_per_second:.0}/s of {asked_per_second:.0}/s asked");
            if behind {
                let _never = writeln!(
                    text,
                    "IT FELL BEHIND: {unsent} requests that were due were never sent, and are in no latency above"
                );
            }
        }
        text
    }
}

impl Row {
    /// What was recorded in so many seconds.
    pub(crate) fn new(kind: Kind, record: &KindRecord, seconds: f64) -> Self {
        let latencies = &record.latencies;
        let ms = |us: u64| us as f64 / 1000.0;
        let quantile = |quantile| ms(latencies.value_at_quantile(quantile).min(latencies.max()));
        Row {
            operation: kind.as_str(),
            count: latencies.len(),
            errors: record.errors,
            per_second: latencies.len() as f64 / seconds,
            mean_ms: latencies.mean() / 1000.0,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: ms(latencies.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::options;
    use crate::record::Records;
    use serde_json::{Value, json};
    use std::time::Duration;

    /// The report of 1,000 gets of 1 to 1,000 ms and one failure in 2 s, at a rate or without one.
    fn report(words: &[&str], schedule: Option<(f64, u64)>) -> Report {
        let mut records = Records::new();
        (1..=1000).for_each(|ms| records.done(Kind::Get, Duration::from_millis(ms)));
        records.failed(Kind::Put, "503 overloaded".into());
        let measured = Measured { records, seconds: 2.0, schedule };
        let endpoint = Endpoint { url: "http://a:1".into(), version: Some("0.1.0".into()) };
        let started = UNIX_EPOCH + Duration::from_millis(1_500);
        Report::new(
            options(&[&["--duration", "2s"], words].concat()),
            vec![endpoint],
            started,
            None,
            &measured,
        )
    }

    #[test]
    fn the_json_has_the_options_and_the_numbers() {
        let report = report(&["--workload", "a", "--seed", "7", "--label", "before"], None);
        let json: Value = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["schema"], &json["label"], &json["started_unix_ms"]),
            (&json!(1), &json!("before"), &json!(1500))
        );
        let options = &json["options"];
        assert_eq!(options["workload"], "a");
        assert_eq!((&options["seed"], &options["duration_seconds"]), (&json!(7), &json!(2.0)));
        assert_eq!((&json["distribution"], &json["open_loop"]), (&json!("zipfian"), &Value::Null));
        assert_eq!(json["endpoints"][0]["version"], "0.1.0");
        assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
        let get = &json["operations"][0];
        assert_eq!(
            (&get["operation"], &get["count"], &get["per_second"]),
            (&json!("get"), &json!(1000), &json!(500.0))
        );
        for (name, due) in
            [("p50_ms", 500.0), ("p90_ms", 900.0), ("p99_ms", 990.0), ("p999_ms", 999.0), ("max_ms", 1000.0)]
        {
            let is = get[name].as_f64().unwrap();
            assert!((is - due).abs() <= due / 500.0, "{name} is {is}");
        }
        assert_eq!(json["operations"][1]["errors"], 1);
        assert_eq!(json["errors"], json!({"503 overloaded": 1}));
    }

    #[test]
    fn the_table_shows_each_operation_and_each_error() {
        let table = report(&[], None).table();
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1][..4], ["get", "1000", "0", "500"]);
        assert_eq!(words[2], ["put", "0", "1", "0", "-", "-", "-", "-", "-"]);
        assert_eq!(table.lines().nth(3), Some("error 503 overloaded: 1 times"));
        let widths: Vec<usize> = table.lines().take(3).map(str::len).collect();
        assert!(
            widths.iter().all(|width| *width == widths[0]),
            "the columns stand under each other: {table}"
        );
    }

    #[test]
    fn an_open_loop_that_fell_behind_says_so() {
        let rate = ["--rate", "600/s"];
        let behind = report(&rate, Some((600.0, 199)));
        assert!(behind.table().contains("500/s of 600/s") && behind.table().contains("FELL BEHIND: 199"));
        assert!(serde_json::to_value(&behind).unwrap()["open_loop"]["behind"].as_bool().unwrap());
        let kept = report(&rate, Some((500.0, 0)));
        assert!(!kept.table().contains("BEHIND"), "{}", kept.table());
    }
}
