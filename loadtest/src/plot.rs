//! Throughput and latency over time, as SVG.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use crate::report::Report;

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the plot: {error}"))
}

/// Draws both curves one above the other.
pub(crate) fn draw(report: &Report, path: &Path) -> io::Result<()> {
    let line = &report.figures.line;
    let seconds = u64::try_from(line.len()).unwrap_or(0).max(1);
    let root = SVGBackend::new(path, (900, 600)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (upper, lower) = root.split_vertically(300);
    let curves: [(_, &str, Vec<u64>, RGBColor); 2] = [
        (upper, "payments/s 每秒完成", line.iter().map(|second| second.completed).collect(), BLUE),
        (lower, "slowest ms 最慢一笔", line.iter().map(|second| second.slowest_ms).collect(), RED),
    ];
    for (area, caption, values, colour) in curves {
        let most = values.iter().copied().max().unwrap_or(0).max(1);
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(0..seconds, 0..most)
            .map_err(failed)?;
        chart.configure_mesh().draw().map_err(failed)?;
        chart.draw_series(LineSeries::new((0..).zip(values), &colour)).map_err(failed)?;
    }
    root.present().map_err(failed)
}
