;; proxy_get_property: durations of the upstream, which differ from run to run: whether they are there.
(module
 (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_abi_version_0_2_1"))
 (func $look
  (call $told (text "latency") (call $get (text "response\00backend_latency") (global.get $pointer) (global.get $size)))
  (call $told (text "ready") (call $get (text "upstream\00cx_pool_ready_duration") (global.get $pointer) (global.get $size))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "get_property_durations")) (then (call $look)))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then (call $look)))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then (call $look))))
)
