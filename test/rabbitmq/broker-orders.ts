import { binary } from '../../scripts/servers/erlang.ts'
import type { PrivateBroker } from './broker.ts'

const by = binary('tests')

/** What operators do to a broker, without starting one of their tools for each. */
export function ordersTo({ evaluate }: Pick<PrivateBroker, 'evaluate'>) {
  return {
    memoryAlarm: (on: boolean) =>
      evaluate(
        `ok = vm_memory_monitor:set_vm_memory_high_watermark(${on ? '{absolute, 1000000}' : 0.4})`,
      ),
    diskAlarm: (on: boolean) =>
      evaluate(`ok = rabbit_disk_monitor:set_disk_free_limit(${on ? 900e9 : 50e6})`),
    /** Of messages that come from now on, in bytes. RabbitMQ 4 reads it from the second place. */
    maxMessageSize: (bytes: number) =>
      evaluate(
        `application:set_env(rabbit, max_message_size, ${bytes}), persistent_term:put(max_message_size, ${bytes})`,
      ),
    /** Also those of others than the app. */
    closeConnections: (why: string) =>
      evaluate(
        `[rabbit_networking:close_connection(C, ${JSON.stringify(why)}) || C <- rabbit_networking:connections()]`,
      ),
    addVhost: (vhost: string) => evaluate(`ok = rabbit_vhost:add(${binary(vhost)}, ${by})`),
    deleteVhost: (vhost: string) => evaluate(`ok = rabbit_vhost:delete(${binary(vhost)}, ${by})`),
    /** What the user may configure, write and read: a pattern of names. */
    permit: (user: string, vhost: string, pattern: string) => {
      const all = binary(pattern)
      return evaluate(
        `ok = rabbit_auth_backend_internal:set_permissions(${binary(user)}, ${binary(vhost)}, ${all}, ${all}, ${all}, ${by})`,
      )
    },
    /** Queues of this pattern of names take so many messages. */
    limitQueues: (vhost: string, pattern: string, messages: number) =>
      evaluate(
        `ok = rabbit_policy:parse_set(${binary(vhost)}, <<"limit">>, ${binary(pattern)}, ${binary(JSON.stringify({ 'max-length': messages }))}, 0, <<"queues">>, ${by})`,
      ),
    unlimitQueues: (vhost: string) =>
      evaluate(`ok = rabbit_policy:delete(${binary(vhost)}, <<"limit">>, ${by})`),
  }
}
