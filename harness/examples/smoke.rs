use weir_harness::exchange::*;
use weir_harness::*;
fn main() {
    let wasm = std::fs::read("/tmp/scratch/t/wasm32-wasip1/release/pw.wasm").unwrap();
    let module = vm::Module::compile("pw", &wasm).unwrap_or_else(|e| panic!("{e}"));
    let routes=routes::RouteTable::from_value(&serde_json::json!({"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/","headers":[{"name":"x-hello","stringMatch":{"exact":"world"}}]},"route":{"cluster":"b"}},{"name":"plain","match":{"prefix":"/"},"route":{"cluster":"a"}}]}]})).unwrap();
    for conf in ["hello", "reply", "call", "tick", "stall", "panic", "loop", "no"] {
        println!("=== {conf}");
        let setup = driver::Setup {
            plugins: vec![driver::Plugin {
                name: "p".into(),
                root_id: "".into(),
                vm_id: "".into(),
                module: module.clone(),
                configuration: Some(conf.into()),
                failure_policy: Default::default(),
                allow_on_headers_stop_iteration: false,
                env: Default::default(),
            }],
            routes: Some(routes.clone()),
            ..Default::default()
        };
        let mut r = match driver::Replay::start(setup) {
            Ok(r) => r,
            Err(e) => {
                println!("{e} {e:?}");
                continue;
            }
        };
        println!("{:?}", r.start_log());
        let mut e = Exchange::default();
        e.start_ns = Some(1_800_000_000_000_000_000);
        e.request.headers =
            [(":method", "POST"), (":path", "/x"), (":authority", "h"), ("a", "1")].into_iter().collect();
        e.request.body = b"hello".to_vec();
        e.response = Some(Message {
            headers: [(":status", "200"), ("content-length", "2")].into_iter().collect(),
            body: b"hi".to_vec(),
            ..Default::default()
        });
        println!("{:#?}", r.exchange(&e));
        e.start_ns = Some(1_800_000_003_000_000_000);
        let o = r.exchange(&e);
        println!("second: {:?} {} {:?} log {:?}", o.end, o.details, o.faults, o.log.len());
        r.finish();
        if conf == "hello" {
            let n = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(0u32);
            if n > 0 {
                let mut r = driver::Replay::start(driver::Setup {
                    plugins: vec![driver::Plugin {
                        name: "p".into(),
                        root_id: "".into(),
                        vm_id: "".into(),
                        module: module.clone(),
                        configuration: Some(conf.into()),
                        failure_policy: Default::default(),
                        allow_on_headers_stop_iteration: false,
                        env: Default::default(),
                    }],
                    ..Default::default()
                })
                .unwrap();
                let t = std::time::Instant::now();
                for _ in 0..n {
                    r.exchange(&e);
                }
                println!("{} per s", n as f64 / t.elapsed().as_secs_f64());
            }
        }
    }
}
