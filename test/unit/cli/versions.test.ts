import { describe, expect, test } from 'vitest'
import { checkNode } from '../../../src/cli/doctor/versions.ts'

describe('the version of Node', () => {
  test.each(['v22.18.0', 'v22.20.1', 'v24.0.0', 'v100.0.0'])('%s is new enough', (version) => {
    expect(() => checkNode(version, '>=22.18')).not.toThrow()
  })

  test.each(['v20.20.2', 'v22.9.0', 'v9.99.0'])(
    '%s is refused, with what is needed and what to do',
    (version) => {
      expect(() => checkNode(version, '>=22.18')).toThrow(
        `this is Node ${version}, and mersal needs >=22.18: install a newer Node`,
      )
    },
  )
})
