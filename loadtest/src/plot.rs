//! Throughput and latency over time, as SVG.

use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Report;

const GREY: RGBColor = RGBColor(150, 150, 150);

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the plot: {error}"))
}

/// Curves of one chart: what each is called, its values second by second, its colour.
type Curves<'a> = Vec<(&'a str, Vec<u64>, RGBColor)>;

/// Draws payments above, and how long they took below.
pub(crate) fn draw(report: &Report, path: &Path) -> io::Result<()> {
    let figures = &report.figures;
    let line = &figures.line;
    let root = SVGBackend::new(path, (900, 640)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (upper, lower) = root.split_vertically(320);
    let arrived = line.iter().map(|second| second.arrived).collect();
    let completed = line.iter().map(|second| second.completed).collect();
    chart(&upper, "每秒笔数 payments/s", vec![("到达 arrived", arrived, GREY), ("完成 completed", completed, BLUE)])?;
    let percentiles = [("p50", 50, BLUE), ("p95", 95, GREEN), ("p99", 99, RED)];
    let percentiles = percentiles.map(|(name, percent, colour)| (name, figures.over_time(percent), colour));
    chart(&lower, "整笔用时（毫秒） whole payments, ms", percentiles.into())?;
    root.present().map_err(failed)
}

fn chart(area: &DrawingArea<SVGBackend<'_>, Shift>, caption: &str, curves: Curves<'_>) -> io::Result<()> {
    let seconds = curves.iter().map(|(_, values, _)| values.len()).max().unwrap_or(0).max(1);
    let most = curves.iter().flat_map(|(_, values, _)| values).copied().max().unwrap_or(0).max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0..seconds, 0..most)
        .map_err(failed)?;
    chart.configure_mesh().draw().map_err(failed)?;
    for (name, values, colour) in curves {
        let drawn = chart.draw_series(LineSeries::new((0..).zip(values), &colour)).map_err(failed)?;
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    let mut names = chart.configure_series_labels();
    names.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(BLACK);
    names.draw().map_err(failed)
}
