//! `register!`: the exports of a module.

/// Makes a filter the module's: exports its callbacks to the host.
///
/// `register!(Filter: on_request_headers, on_log)` exports those callbacks and no others; name every method of
/// [`HttpFilter`](crate::HttpFilter) that you write. Each one that Envoy calls costs every stream 0.3 to 0.9 µs, which is why
/// `register!(Filter)`, which exports them all, is for beginnings only. A callback that is not registered is not called, in Envoy
/// as in [`testing`](crate::testing), and a decision that would wait for one fails.
///
/// Once per module. Anywhere but on Wasm nothing is exported, so that several filters fit into one test binary.
#[macro_export]
macro_rules! register {
    ($filter:ty) => {
        $crate::register!(
            $filter: on_request_headers, on_request_body, on_request_trailers, on_response_headers, on_response_body,
            on_response_trailers, on_callout_reply, on_grpc_reply, on_timer, on_log, on_plugin_callout_reply,
            on_plugin_grpc_reply, on_plugin_timer
        );
    };
    ($filter:ty: $($callback:ident),+ $(,)?) => {
        const _: () = {
            impl $crate::Registered for $filter {
                const CALLBACKS: $crate::Callbacks =
                    $crate::Callbacks::NONE $(.with($crate::__callback!($callback)))+;
            }

            // Checks the filter where nothing is exported.
            const _: fn() -> $crate::Dispatcher<$filter> = <$crate::Dispatcher<$filter>>::default;

            #[cfg(target_arch = "wasm32")]
            ::std::thread_local! {
                // Never dropped, as the module never ends: neither code that does nor code that asks whether it has been made.
                static DISPATCHER: ::core::mem::ManuallyDrop<$crate::Dispatcher<$filter>> =
                    const { ::core::mem::ManuallyDrop::new(<$crate::Dispatcher<$filter>>::new()) };
            }

            $crate::__export! { _initialize() => $crate::initialize() }
            $crate::__export! { proxy_abi_version_0_2_1() => () }
            $crate::__export! { proxy_on_memory_allocate(size: usize) -> *mut u8 => $crate::allocate(size) }
            $crate::__export! { proxy_on_context_create(context: u32, root: u32) =>
                DISPATCHER.with(|dispatcher| dispatcher.on_context_create(context, root)) }
            $crate::__export! { proxy_on_configure(root: u32, size: u32) -> u32 =>
                DISPATCHER.with(|dispatcher| u32::from(dispatcher.on_configure(root, size))) }
            $crate::__export! { proxy_on_delete(context: u32) =>
                DISPATCHER.with(|dispatcher| dispatcher.on_delete(context)) }
            $crate::__exports! { DISPATCHER [] [] [] $($callback)+ }
        };
    };
}

/// The constant of a callback's name.
#[doc(hidden)]
#[macro_export]
macro_rules! __callback {
    (on_request_headers) => {
        $crate::Callbacks::ON_REQUEST_HEADERS
    };
    (on_request_body) => {
        $crate::Callbacks::ON_REQUEST_BODY
    };
    (on_request_trailers) => {
        $crate::Callbacks::ON_REQUEST_TRAILERS
    };
    (on_response_headers) => {
        $crate::Callbacks::ON_RESPONSE_HEADERS
    };
    (on_response_body) => {
        $crate::Callbacks::ON_RESPONSE_BODY
    };
    (on_response_trailers) => {
        $crate::Callbacks::ON_RESPONSE_TRAILERS
    };
    (on_callout_reply) => {
        $crate::Callbacks::ON_CALLOUT_REPLY
    };
    (on_timer) => {
        $crate::Callbacks::ON_TIMER
    };
    (on_log) => {
        $crate::Callbacks::ON_LOG
    };
    (on_plugin_callout_reply) => {
        $crate::Callbacks::ON_PLUGIN_CALLOUT_REPLY
    };
    (on_grpc_reply) => {
        $crate::Callbacks::ON_GRPC_REPLY
    };
    (on_plugin_grpc_reply) => {
        $crate::Callbacks::ON_PLUGIN_GRPC_REPLY
    };
    (on_plugin_timer) => {
        $crate::Callbacks::ON_PLUGIN_TIMER
    };
    ($other:ident) => {
        compile_error!(concat!("`", stringify!($other), "` is not a callback that can be registered"))
    };
}

/// The exports of the callbacks. The lists hold whether answers of callouts, answers of gRPC calls and the tick are exported: two of a
/// filter's callbacks share each.
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt) => {};
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_request_headers $($rest:ident)*) => {
        $crate::__export! { proxy_on_request_headers(context: u32, _count: u32, end: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_request_headers(context, end != 0)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_request_body $($rest:ident)*) => {
        $crate::__export! { proxy_on_request_body(context: u32, size: u32, end: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_request_body(context, size, end != 0)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_request_trailers $($rest:ident)*) => {
        $crate::__export! { proxy_on_request_trailers(context: u32, _count: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_request_trailers(context)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_response_headers $($rest:ident)*) => {
        $crate::__export! { proxy_on_response_headers(context: u32, _count: u32, end: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_response_headers(context, end != 0)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_response_body $($rest:ident)*) => {
        $crate::__export! { proxy_on_response_body(context: u32, size: u32, end: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_response_body(context, size, end != 0)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_response_trailers $($rest:ident)*) => {
        $crate::__export! { proxy_on_response_trailers(context: u32, _count: u32) -> u32 =>
            $dispatcher.with(|dispatcher| dispatcher.on_response_trailers(context)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_log $($rest:ident)*) => {
        $crate::__export! { proxy_on_log(context: u32) =>
            $dispatcher.with(|dispatcher| dispatcher.on_log(context)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident [] $grpc:tt $ticks:tt on_callout_reply $($rest:ident)*) => {
        $crate::__exports! { $dispatcher [] $grpc $ticks on_plugin_callout_reply $($rest)* }
    };
    ($dispatcher:ident [] $grpc:tt $ticks:tt on_plugin_callout_reply $($rest:ident)*) => {
        $crate::__export! {
            proxy_on_http_call_response(root: u32, token: u32, headers: u32, body_size: u32, _trailers: u32) =>
            $dispatcher.with(|dispatcher| dispatcher.on_callout_reply(root, token, headers, body_size)) }
        $crate::__exports! { $dispatcher [exported] $grpc $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt [] $ticks:tt on_grpc_reply $($rest:ident)*) => {
        $crate::__exports! { $dispatcher $calls [] $ticks on_plugin_grpc_reply $($rest)* }
    };
    ($dispatcher:ident $calls:tt [] $ticks:tt on_plugin_grpc_reply $($rest:ident)*) => {
        $crate::__export! { proxy_on_grpc_receive(root: u32, token: u32, size: u32) =>
            $dispatcher.with(|dispatcher| dispatcher.on_grpc_receive(root, token, size)) }
        $crate::__export! { proxy_on_grpc_close(root: u32, token: u32, status: u32) =>
            $dispatcher.with(|dispatcher| dispatcher.on_grpc_close(root, token, status)) }
        $crate::__exports! { $dispatcher $calls [exported] $ticks $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt on_timer $($rest:ident)*) => {
        // Where many are due at once, it wakes the next of them.
        $crate::__export! { proxy_on_queue_ready(root: u32, token: u32) =>
            $dispatcher.with(|dispatcher| dispatcher.on_queue_ready(root, token)) }
        $crate::__exports! { $dispatcher $calls $grpc $ticks on_plugin_timer $($rest)* }
    };
    ($dispatcher:ident $calls:tt $grpc:tt [] on_plugin_timer $($rest:ident)*) => {
        $crate::__export! { proxy_on_tick(root: u32) => $dispatcher.with(|dispatcher| dispatcher.on_tick(root)) }
        $crate::__exports! { $dispatcher $calls $grpc [exported] $($rest)* }
    };
    // Exported already, or refused by `__callback`.
    ($dispatcher:ident $calls:tt $grpc:tt $ticks:tt $other:ident $($rest:ident)*) => {
        $crate::__exports! { $dispatcher $calls $grpc $ticks $($rest)* }
    };
}

/// One export, on Wasm only.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? => $body:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            $body
        }
    };
}
