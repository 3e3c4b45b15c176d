//! Where it ran: figures mean little without it.

use serde::Serialize;
use std::fs;
use std::thread;

/// The machine that ran it.
#[derive(Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: Option<String>,
    kernel: Option<String>,
}

impl Machine {
    /// This one, as far as it tells.
    pub(crate) fn here() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Machine {
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            cpu: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_model(&text)),
            kernel: kernel.map(|text| text.trim().to_string()),
        }
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_a_cpu_is_found() {
        let text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: other\n";
        assert_eq!(cpu_model(text), Some("Some CPU @ 2.00GHz".into()));
        assert_eq!(cpu_model("Hardware : x\n"), None);
    }
}
