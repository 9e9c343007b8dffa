//! A filter on the stock `proxy-wasm` crate and its String getter: greets the client by its `x-name`. A client
//! that sends a byte that is no UTF-8 kills it, and with it every later request of the worker (`SDK-02`). Not for use: `hostile` shows it.

// Empty natively: what the crate links against exists in Wasm hosts alone.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

const _: () = {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(Root));
    }}
};

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(name) = self.get_http_request_header("x-name") {
            self.set_http_request_header("x-greeting", Some(&format!("hello {name}")));
        }
        Action::Continue
    }
}
