//! The processor time of this process and of servers, from `/proc`.

use std::time::Instant;

use super::Failure;

/// CPU seconds of a process so far.
fn cpu(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let field = |n: usize| fields.split(' ').nth(n).and_then(|text| text.parse().ok());
    let ticks: [Option<f64>; 2] = [field(11), field(12)];
    Ok((ticks[0].unwrap_or(0.0) + ticks[1].unwrap_or(0.0)) / 100.0)
}

/// What processes had used when it began.
pub struct Cpu {
    pids: [(&'static str, u32); 3],
    before: Vec<f64>,
    began: Instant,
}

impl Cpu {
    /// Begins with this process and two servers.
    pub fn begin(redis: u32, mariadb: u32) -> Result<Self, Failure> {
        let own = std::process::id();
        let pids = [("worker", own), ("Redis", redis), ("MariaDB", mariadb)];
        let before = pids
            .iter()
            .map(|(_, pid)| cpu(*pid))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pids,
            before,
            began: Instant::now(),
        })
    }

    /// Percent of one core, since the beginning.
    pub fn end(&self) -> Result<String, Failure> {
        let took = self.began.elapsed().as_secs_f64();
        let (mut text, mut sum) = (String::new(), 0.0);
        for ((name, pid), before) in self.pids.iter().zip(&self.before) {
            let percent = (cpu(*pid)? - before) / took * 100.0;
            sum += percent;
            text.push_str(&format!("{name} {percent:.1}%, "));
        }
        Ok(format!("{text}together {sum:.1}% of a core"))
    }
}
