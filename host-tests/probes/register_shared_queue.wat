;; proxy_register_shared_queue: twice the same name, another name, an empty one, pointers outside memory.
(module
 (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (global $one (mut i32) (i32.const 0))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "register_shared_queue")) (then
   (call $told (text "one") (call $register (text "probe.one") (global.get $number)))
   (global.set $one (i32.load (global.get $number)))
   (call $told (text "a token") (i32.ne (global.get $one) (i32.const 0)))
   (call $told (text "again") (call $register (text "probe.one") (global.get $number)))
   (call $told (text "the same") (i32.eq (global.get $one) (i32.load (global.get $number))))
   (call $told (text "two") (call $register (text "probe.two") (global.get $number)))
   (call $told (text "another") (i32.ne (global.get $one) (i32.load (global.get $number))))
   (call $told (text "empty") (call $register (text "") (global.get $number)))
   (call $told (text "name nowhere") (call $register (global.get $nowhere) (i32.const 1) (global.get $number)))
   (call $told (text "token nowhere") (call $register (text "probe.one") (global.get $nowhere)))))
  (i32.const 0))
)
