import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { openProject } from './project.ts'

describe('a configuration that cannot be used', { timeout: 120_000 }, () => {
  test('P14: is told with its error, and without what looks like a secret in it', async () => {
    const config = `throw new Error('cannot reach mysql://shop:s3cr3t@db/shop with password=hunter2')`
    await using project = openProject(config, tmpdir())
    const { code, stderr } = await project.mersal(['status'])
    expect(code).toBe(1)
    expect(stderr).toContain('cannot be loaded: Error: cannot reach mysql://***@db/shop')
    expect(stderr).not.toMatch(/s3cr3t|hunter2/)
  })

  test('is named if it is a folder', async () => {
    await using project = openProject(undefined, tmpdir())
    const { code, stderr } = await project.mersal(['status', '--config', '.'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('is no file')])
  })

  test('of a database whose client is missing names the package, not a repository', async () => {
    await using project = openProject(undefined, tmpdir())
    const env = { DATABASE_URL: 'mysql://root@127.0.0.1:3306/shop' }
    const { code, stderr } = await project.mersal(['status'], env)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/: npm install mysql2\s*$/)])
  })
})
