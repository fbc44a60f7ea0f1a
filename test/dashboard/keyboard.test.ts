import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryStore } from '../../src/memory.ts'
import type { Store } from '../../src/index.ts'
import { dashboard } from '../../src/dashboard/index.ts'
import { kill, message, save } from '../unit/dashboard/support.ts'
import { axe, type Browser, browserIsHere, openBrowser, openPage, type Page } from './browser.ts'
import { listen, type Listening, TOKEN } from './shop.ts'

const FOCUSED = `(() => {
  const one = document.activeElement
  return one.getAttribute('aria-label') ?? (one.labels?.[0] ?? one).innerText.trim().split('\\n')[0]
})()`

/** Goes on with Tab until what has the focus is called so. */
async function tabTo(page: Page, name: string, key = 'Tab'): Promise<void> {
  const passed: string[] = []
  while (passed.length < 60) {
    await page.keyboard.press(key)
    passed.push(await page.evaluate<string>(FOCUSED))
    if (passed.at(-1) === name) return
  }
  throw new Error(`${key} does not lead to '${name}', but to ${passed.join(', ')}`)
}

describe.skipIf(!browserIsHere())('the page with a keyboard alone', () => {
  const store = memoryStore() as unknown as Store<never>
  let browser: Browser
  let web: Listening
  let page: Page

  beforeAll(async () => {
    await store.open()
    await save(store, message('a'), message('b'), message('c'))
    await kill(store)
    const ui = dashboard({ stores: { main: store }, token: TOKEN, allow: ['discard', 'pause'] })
    web = await listen((request, response) => void ui.node(request, response))
    browser = await openBrowser()
    page = (await openPage(browser, `${web.address}/#token=${TOKEN}`)).page
    await page.waitForSelector('.figure')
  })
  afterAll(async () => {
    await browser?.close()
    await web?.[Symbol.asyncDispose]()
  })

  test('offers first to skip what is on every page', async () => {
    await page.keyboard.press('Tab')
    expect(await page.evaluate(FOCUSED)).toBe('Skip to the page')
    await page.keyboard.press('Enter')
    expect(await page.evaluate(FOCUSED)).toBe('Overview')
    expect(await page.evaluate('document.activeElement.tagName')).toBe('H1')
  })

  test('discards a dead letter: asks first, can be escaped from, and says what it did', async () => {
    await page.reload()
    await page.waitForSelector('.figure')
    await tabTo(page, 'Dead letters')
    await page.keyboard.press('Enter')
    await page.waitForSelector('tbody tr')
    expect(await page.evaluate(FOCUSED)).toBe('Dead letters')
    await tabTo(page, 'Choose orders.placed 1')
    await page.keyboard.press('Space')
    await tabTo(page, 'Discard 1', 'Shift+Tab')
    await page.keyboard.press('Enter')
    await page.waitForSelector('dialog[open]')
    expect(await axe(page)).toEqual([])
    await page.keyboard.press('Escape')
    await page.waitForSelector('dialog', { state: 'detached' })
    expect(await page.evaluate(FOCUSED)).toBe('Discard 1')
    await page.keyboard.press('Enter')
    await page.waitForSelector('dialog[open]')
    await tabTo(page, 'Discard')
    await page.keyboard.press('Enter')
    await page.waitForSelector('[role="status"]:has-text("discarded 1")')
    await page.waitForSelector('tbody tr >> nth=2', { state: 'detached' })
    expect(await store.admin.stats()).toMatchObject({ dead: 2 })
    // The reader is still in the list.
    await tabTo(page, 'Choose orders.placed 2')
  })

  test('pauses a key, and the focus comes back to the form', async () => {
    await tabTo(page, 'Pauses', 'Shift+Tab')
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=Nothing is paused.')
    await tabTo(page, 'What')
    await page.keyboard.type('a partition')
    await page.keyboard.press('Tab')
    await page.keyboard.type('customer-9')
    await page.keyboard.press('Enter')
    await page.waitForSelector('dialog[open]')
    await tabTo(page, 'Pause')
    await page.keyboard.press('Enter')
    await page.waitForSelector('tr:has-text("customer-9")')
    expect(await page.evaluate(FOCUSED)).toBe('Name')
    expect(await store.operations?.pauses?.list()).toMatchObject([
      { kind: 'key', name: 'customer-9' },
    ])
  })
})
