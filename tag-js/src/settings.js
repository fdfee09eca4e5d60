// What the page asked for: the attributes of the script element, or the options of load().
export const settings = { words: [] };

// Is this switched on? Without a word: always.
export const auto = (word) => !word || settings.words.includes(word);

export const isAnonymous = () => auto("anonymous");
