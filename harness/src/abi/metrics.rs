//! Metrics (`MET-*`).

use wasmtime::Linker;

use super::{Answer, Call, Status, hostcalls, memory};
use crate::host::MetricType;
use crate::vm::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls! { linker:
        "proxy_define_metric" = define(kind: u32, name: u32, name_size: u32, id: u32);
        "proxy_increment_metric" = increment(id: u32, offset: i64);
        "proxy_record_metric" = record(id: u32, value: u64);
        "proxy_get_metric" = get(id: u32, value: u32);
    }
    Ok(())
}

fn define(call: &mut Call<'_, '_>, kind: u32, name: u32, name_size: u32, id: u32) -> Answer {
    let kind = match kind {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Histogram,
        _ => return Err(Status::BadArgument.into()),
    };
    let (memory, host, guest) = call.parts();
    let metric = host.metrics.define(kind, memory::slice(memory, name, name_size)?);
    let given = guest.define(kind, metric);
    Ok(memory::write_word(memory, id, given)?)
}

/// The metric of an id; an id whose type bits are 3 is no type at all (`MET-02`).
fn find(call: &mut Call<'_, '_>, id: u32) -> Result<(MetricType, usize), Status> {
    let missing = if id % 4 == 3 { Status::BadArgument } else { Status::NotFound };
    call.guest().metric(id).ok_or(missing)
}

fn increment(call: &mut Call<'_, '_>, id: u32, offset: i64) -> Answer {
    match find(call, id)? {
        (MetricType::Counter, _) if offset <= 0 => Err(Status::BadArgument.into()),
        (MetricType::Histogram, _) => Err(Status::BadArgument.into()),
        (_, metric) => {
            let owner = call.owner();
            call.pause();
            let host = call.host();
            let by = host.metrics.add(metric, offset);
            host.notes(owner).change(metric, by);
            Ok(())
        }
    }
}

fn record(call: &mut Call<'_, '_>, id: u32, value: u64) -> Answer {
    let (_, metric) = find(call, id)?;
    let owner = call.owner();
    call.pause();
    let host = call.host();
    let by = host.metrics.record(metric, value);
    host.notes(owner).change(metric, by);
    Ok(())
}

fn get(call: &mut Call<'_, '_>, id: u32, value: u32) -> Answer {
    match find(call, id)? {
        (MetricType::Histogram, _) => Err(Status::BadArgument.into()),
        (_, metric) => {
            call.pause();
            let now = call.host().metrics.value(metric);
            call.put(value, &now.to_le_bytes())
        }
    }
}
