;; proxy_set_tick_period_milliseconds: a timer that a stream starts lets it go on, and stops.
(module
 (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
 (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
 (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
 ;; include "prelude.wat"
 (global $held (mut i32) (i32.const 0))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "set_tick_period_milliseconds")) (then
   (global.set $held (local.get $id))
   (call $told (text "start") (call $period (i32.const 20)))
   (return (i32.const 1))))
  (i32.const 0))
 (func (export "proxy_on_tick") (param $id i32)
  (if (i32.eqz (global.get $held)) (then (return)))
  (call $say (text "tick"))
  (call $told (text "stop") (call $period (i32.const 0)))
  (call $told (text "effective") (call $effective (global.get $held)))
  (call $told (text "continue") (call $continue (i32.const 0)))
  (global.set $held (i32.const 0)))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $say (text "response"))))
  (i32.const 0))
)
