;; proxy_set_property: filter state, read back here and in the access log; pointers outside memory; in every phase.
(module
 (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_abi_version_0_2_1"))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "set_property")) (then
   (call $told (text "new") (call $set (text "probe.new") (text "one")))
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "again") (call $set (text "probe.new") (text "two")))
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "with parts") (call $set (text "probe\00parts") (text "three")))
   (call $got (text "with parts") (call $get (text "probe\00parts") (global.get $pointer) (global.get $size)))
   (call $got (text "joined") (call $get (text "probe.parts") (global.get $pointer) (global.get $size)))
   (call $got (text "under wasm.") (call $get (text "wasm.probe.new") (global.get $pointer) (global.get $size)))
   (call $got (text "filter_state") (call $get (text "filter_state\00wasm.probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "empty value") (call $set (text "probe.empty") (text "")))
   (call $got (text "empty value") (call $get (text "probe.empty") (global.get $pointer) (global.get $size)))
   (call $told (text "a known name") (call $set (text "request\00path") (text "mine")))
   (call $got (text "a known name") (call $get (text "request\00path") (global.get $pointer) (global.get $size)))
   (call $told (text "path nowhere") (call $set (global.get $nowhere) (i32.const 1) (text "v")))
   (call $told (text "value nowhere") (call $set (text "probe.v") (global.get $nowhere) (i32.const 1)))))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size_now i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "request_body") (call $set (text "probe.request_body") (text "request_body")))))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "response_headers") (call $set (text "probe.response_headers") (text "response_headers")))))
  (i32.const 0))
 (func (export "proxy_on_response_body") (param $id i32) (param $size_now i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "response_body") (call $set (text "probe.response_body") (text "response_body")))))
  (i32.const 0))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "response_trailers") (call $set (text "probe.response_trailers") (text "response_trailers")))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "new") (call $get (text "probe.new") (global.get $pointer) (global.get $size)))
   (call $told (text "log") (call $set (text "probe.log") (text "log"))))))
)
