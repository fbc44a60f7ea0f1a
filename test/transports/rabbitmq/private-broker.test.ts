import { expect, test } from 'vitest'
import { brokerProblem } from '../../../scripts/servers/rabbitmq.ts'

const programs = '/usr/lib/rabbitmq/bin'
const server = `${programs}/rabbitmq-server`
const control = `${programs}/rabbitmqctl`
const [root, user] = [true, false]

test.each([
  ['has no RabbitMQ', root, ['/sbin/runuser'], /^no RabbitMQ programs: .*rabbitmq-server/],
  ['has nothing, for a user', user, [], /^no RabbitMQ programs: .*rabbitmq-server/],
  ['lacks rabbitmqctl', user, [server], /^no rabbitmqctl in PATH \(\/bin:\/sbin\)/],
  [
    'lacks runuser, which root needs',
    root,
    [server, control],
    /^no runuser in PATH \(\/bin:\/sbin\)/,
  ],
] as const)('a machine that %s says what is missing', (_, isRoot, files, problem) => {
  expect(problemOf(isRoot, files)).toMatch(problem)
})

test.each([
  ['with runuser, for root', root, [server, control, '/sbin/runuser']],
  ['without runuser, for a user', user, [server, control]],
  ['with rabbitmqctl in the PATH alone', user, [server, '/sbin/rabbitmqctl']],
] as const)('a machine with RabbitMQ, %s, lacks nothing', (_, isRoot, files) => {
  expect(problemOf(isRoot, files)).toBeUndefined()
})

test('an environment without PATH has no programs in it', () => {
  const exists = (path: string): boolean => path === server
  expect(brokerProblem({ environment: {}, isRoot: false, exists })).toMatch(/^no rabbitmqctl/)
})

function problemOf(isRoot: boolean, files: readonly string[]): string | undefined {
  const exists = (path: string): boolean => files.includes(path)
  return brokerProblem({ environment: { PATH: '/bin:/sbin' }, isRoot, exists })
}
