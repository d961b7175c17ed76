;; proxy_continue_stream: kinds of streams that there are not, in every callback. `actor.wat` continues those that there are.
(module
 (import "env" "proxy_continue_stream" (func $go (param i32) (result i32)))
 ;; include "prelude.wat"
 (func $each (local $map i32)
  (local.set $map (i32.const 2))
  (loop $next
   (call $put (text "stream "))
   (call $put_number (local.get $map))
   (call $told (i32.const 0) (i32.const 0) (call $go (local.get $map)))
   (local.set $map (i32.add (local.get $map) (i32.const 1)))
   (br_if $next (i32.le_u (local.get $map) (i32.const 5)))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "continue_stream")) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size_now i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_request_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_body") (param $id i32) (param $size_now i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $each))))
)
