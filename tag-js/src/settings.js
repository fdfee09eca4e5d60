// What the page asked for: the attributes of the script element, or the options of load().
export const settings = {};

// Is this switched on? No word of the list is part of another.
export const auto = (word) => settings.auto.includes(word);

export const isAnonymous = () => auto("anonymous");
