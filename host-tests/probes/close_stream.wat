;; proxy_close_stream: kinds of streams that there are not. `actor.wat` closes those that there are.
(module
 (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "close_stream")) (then
   (call $told (text "TCP downstream") (call $close (i32.const 2)))
   (call $told (text "TCP upstream") (call $close (i32.const 3)))
   (call $told (text "four") (call $close (i32.const 4)))
   (call $told (text "-1") (call $close (i32.const -1)))))
  (i32.const 0))
)
