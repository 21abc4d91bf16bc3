//! The picture of a day: what was sent against the limit, refusals, and the share of each group.

use std::fmt::Write;
use std::time::Duration;

/// Length of a sample.
pub const EVERY: Duration = Duration::from_secs(300);

pub const GROUPS: usize = 10;

/// What happened in one length of time.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Requests that were sent, by group.
    pub sent: [u64; GROUPS],
    /// Requests that all limits together allow.
    pub limit: f64,
    /// Attempts with status 429.
    pub refused: u64,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 60.0;
const CHARTS: [(f64, f64); 2] = [(34.0, 220.0), (300.0, 70.0)];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}\
    path{fill:none;stroke:#cf222e;stroke-width:1.5}rect{fill:#cf222e}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}path{stroke:#ff7b72}rect{fill:#ff7b72}}";

/// Returns the picture as SVG, readable on a light and on a dark page.
pub fn draw(samples: &[Sample]) -> String {
    let step = (WIDTH - LEFT) / samples.len() as f64;
    let x = |index: usize| LEFT + index as f64 * step;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 410" role="img" aria-label="A simulated day of limits">"#
    );
    let _ = writeln!(svg, "<style>{STYLE}</style>");

    let (top, height) = CHARTS[0];
    let most =
        samples.iter().map(|sample| sample.limit.max(sample.sent.iter().sum::<u64>() as f64)).fold(1.0, f64::max);
    let y = |value: f64| top + height * (1.0 - value / most);
    title(&mut svg, top, "Requests a second, by group, and what all limits allow (line)");
    let mut below = vec![0.0; samples.len()];
    for group in 0..GROUPS {
        let _ = write!(svg, r#"<polygon style="fill:hsl({} 55% 55%)" points=""#, group * 36);
        for (index, sum) in below.iter().enumerate() {
            let _ = write!(svg, "{:.1},{:.1} ", x(index), y(*sum));
        }
        for (sum, sample) in below.iter_mut().zip(samples) {
            *sum += sample.sent[group] as f64;
        }
        for (index, sum) in below.iter().enumerate().rev() {
            let _ = write!(svg, "{:.1},{:.1} ", x(index), y(*sum));
        }
        svg.push_str("\"/>\n");
    }
    let points = samples.iter().enumerate().map(|(index, sample)| format!("{:.1},{:.1}", x(index), y(sample.limit)));
    let _ = writeln!(svg, r#"<path d="M{}"/>"#, points.collect::<Vec<_>>().join(" "));
    let per_second = most / EVERY.as_secs_f64();
    scale(&mut svg, top, height, &format!("{per_second:.0}"));

    let (top, height) = CHARTS[1];
    let most = samples.iter().map(|sample| sample.refused).max().unwrap_or(0).max(1);
    title(&mut svg, top, "Attempts with status 429 in five minutes");
    for (index, sample) in samples.iter().enumerate() {
        let bar = height * sample.refused as f64 / most as f64;
        let _ = writeln!(
            svg,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{bar:.1}"/>"#,
            x(index),
            top + height - bar,
            step * 0.8
        );
    }
    scale(&mut svg, top, height, &most.to_string());
    for hour in (0..=24).step_by(4) {
        let at = LEFT + (WIDTH - LEFT) * f64::from(hour) / 24.0;
        let anchor = if hour == 24 { "end" } else { "start" };
        let _ =
            writeln!(svg, r#"<text x="{at:.0}" y="{:.0}" text-anchor="{anchor}">{hour} h</text>"#, top + height + 18.0);
    }
    svg.push_str("</svg>\n");
    svg
}

fn title(svg: &mut String, top: f64, text: &str) {
    let _ = writeln!(svg, r#"<text x="0" y="{}" class="title">{text}</text>"#, top - 14.0);
}

fn scale(svg: &mut String, top: f64, height: f64, most: &str) {
    for (y, text) in [(top + 10.0, most), (top + height, "0")] {
        let _ = writeln!(svg, r#"<text x="{}" y="{y:.0}" text-anchor="end">{text}</text>"#, LEFT - 8.0);
    }
}
