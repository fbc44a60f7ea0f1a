import { command } from '../../src/index.ts'
import type { Travelling } from './input.ts'

/**
 * Names of message types: what is given to `command()`, and what stands in a row that somebody else
 * wrote.
 */
const names: readonly (readonly [string, string, 'fits'?])[] = [
  ['empty', ''],
  ['one byte', 'a', 'fits'],
  ['200 characters', 'a'.repeat(200), 'fits'],
  ['201 characters', 'a'.repeat(201)],
  ['255 characters', 'a'.repeat(255)],
  ['256 characters', 'a'.repeat(256)],
  ['10,000 characters', 'x'.repeat(10_000)],
  ['a million characters', 'x'.repeat(1_000_000)],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor', 'fits'],
  ['toString', 'toString', 'fits'],
  ['hasOwnProperty', 'hasOwnProperty', 'fits'],
  ['path upwards', '../../etc/passwd'],
  ['NUL', 'a\0b'],
  ['CR LF', 'a\r\nX-Injected: 1'],
  ['escape sequence of a terminal', '\u001b]0;owned\u0007'],
  ['right-to-left override', 'a\u202etxt.exe'],
  ['homoglyph', 'оrders.placed'],
  ['NFC', 'caf\u00e9'],
  ['NFD', 'cafe\u0301'],
  ['lone surrogate', 'a\ud800b'],
  ['emoji', '🎓.registered'],
  ['template of JavaScript', '${7*7}'],
  ['template of others', '{{7*7}}'],
  ['format string', '%s%n%x'],
  ['HTML', '<img src=x onerror=alert(1)>'],
  ['SQL', "'; DROP TABLE outbox; --"],
  ['spaces', '   '],
  ['dots', '...'],
  ['wildcards', 'orders.*'],
  ['wildcard of NATS', 'orders.>'],
  ['wildcard of AMQP', '#'],
  ['zero', '0', 'fits'],
  ['NaN', 'NaN', 'fits'],
]

export const namesOfTypes: readonly Travelling[] = [
  ...names.map(
    ([name, value, fits]): Travelling => ({
      name,
      type: () => command(value),
      send: (sender) => sender.sendLocal(command(value), { name }),
      ends: fits === undefined ? 'MERSAL_INVALID_MESSAGE' : 'arrives',
      stored: { type: value },
    }),
  ),
  {
    name: '100 names that differ by one character',
    type: () => command('orders.placed-99'),
    send: (sender) => {
      for (let n = 0; n < 99; n++) command(`orders.placed-${n}`)
      return sender.sendLocal(command('orders.placed-99'), {})
    },
    ends: 'arrives',
    stored: { type: 'orders.placed-98' },
  },
  {
    name: 'a number in place of a name',
    send: (sender) => sender.sendLocal(command(5 as never), {}),
    ends: 'MERSAL_INVALID_MESSAGE',
  },
  {
    name: 'an object with toString in place of a name',
    send: (sender) => sender.sendLocal(command({ toString: () => 'orders' } as never), {}),
    ends: 'MERSAL_INVALID_MESSAGE',
  },
]
