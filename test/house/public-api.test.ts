import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { entries, goldenFile, publicApi } from '../../scripts/public-api.ts'

describe('the public API', () => {
  const api = publicApi()

  test('is the one written down in test/golden/api.txt (after a wanted change: npm run golden)', () => {
    expect(api).toBe(readFileSync(goldenFile, 'utf8'))
  })

  test.each([...entries().keys()])('has names under the sub-path %s', (path) => {
    const page = api.split(/^=== /m).find((part) => part.startsWith(`mersal${path.slice(1)}\n`))
    expect(page?.trim().split('\n').length).toBeGreaterThan(3)
  })
})
