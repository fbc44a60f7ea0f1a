import { expect, test } from 'vitest'
import { brokerProblem } from '../../scripts/servers/rabbitmq.ts'

test('a machine on which a private broker cannot be started because a program is missing is told apart from one that has all', () => {
  // Neither rabbitmqctl nor runuser is there; without RabbitMQ itself, that is said first.
  expect(brokerProblem({ PATH: '/nowhere' })).toMatch(/no rabbitmqctl in PATH \(\/nowhere\)|no RabbitMQ programs/)
  expect(brokerProblem({})).toBeDefined()
})
