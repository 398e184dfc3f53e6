//! The text that Prometheus scrapes.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{Display, Write as _};

use super::{
    family::{Family, Kind},
    value::{Histogram, Scale},
};

/// The `content-type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of samples, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    last: Option<&'static str>,
}

impl Page {
    /// One sample: a value for each of the family's labels. The samples of a family stand together.
    pub fn sample(&mut self, family: &'static Family, labels: &[&str], value: impl Display) {
        self.begin(family);
        self.line(family, "", (labels, None), value);
    }

    /// A whole number of something that is there (1) or not (0).
    pub fn flag(&mut self, family: &'static Family, labels: &[&str], flag: bool) {
        self.sample(family, labels, u8::from(flag));
    }

    /// A histogram with these labels.
    pub fn histogram<S: Scale>(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        histogram: &Histogram<S>,
    ) {
        self.begin(family);
        let mut count = 0;
        for (limit, below) in histogram.cumulative() {
            self.line(family, "_bucket", (labels, Some(limit)), below);
            count = below;
        }
        self.line(family, "_sum", (labels, None), histogram.sum());
        self.line(family, "_count", (labels, None), count);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    fn begin(&mut self, family: &'static Family) {
        if self.last == Some(family.name) {
            return;
        }
        self.last = Some(family.name);
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, help) = (family.name, family.help);
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("text grows");
    }

    fn line(
        &mut self,
        family: &Family,
        suffix: &str,
        (values, limit): (&[&str], Option<&str>),
        value: impl Display,
    ) {
        assert_eq!(values.len(), family.labels.len(), "labels of {}", family.name);
        write!(self.text, "{}{suffix}", family.name).expect("text grows");
        let labels = family.labels.iter().zip(values).map(|(name, value)| (*name, *value));
        let mut before = '{';
        for (name, value) in labels.chain(limit.map(|limit| ("le", limit))) {
            write!(self.text, "{before}{name}=\"").expect("text grows");
            self.escaped(value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("text grows");
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        family::{BLOCK_READ_DURATION, CLUSTER_HEALTHY, LOCAL_DISK_AVAIL},
        value::Seconds,
    };

    #[test]
    fn a_family_is_described_once_and_its_labels_are_escaped() {
        let mut page = Page::default();
        page.flag(&CLUSTER_HEALTHY, &[], true);
        page.sample(&LOCAL_DISK_AVAIL, &["data"], 12);
        page.sample(&LOCAL_DISK_AVAIL, &["a\"b\\c\nd"], 0.5);
        let text = page.finish();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE cluster_healthy gauge",
                "cluster_healthy 1",
                "# TYPE garage_local_disk_avail gauge",
                "garage_local_disk_avail{volume=\"data\"} 12",
                "garage_local_disk_avail{volume=\"a\\\"b\\\\c\\nd\"} 0.5",
            ]
        );
    }

    #[test]
    fn a_histogram_ends_with_its_sum_and_count() {
        let (mut page, times) = (Page::default(), Histogram::<Seconds>::default());
        times.took(std::time::Duration::from_millis(30));
        page.histogram(&BLOCK_READ_DURATION, &[], &times);
        let text = page.finish();
        assert!(text.contains("block_read_duration_bucket{le=\"0.025\"} 0\n"), "{text}");
        assert!(text.contains("block_read_duration_bucket{le=\"0.05\"} 1\n"), "{text}");
        let end = "block_read_duration_bucket{le=\"+Inf\"} 1\nblock_read_duration_sum 0.03\nblock_read_duration_count 1\n";
        assert!(text.ends_with(end), "{text}");
    }
}
