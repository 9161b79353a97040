-- The second database of compose.yaml; the first one, upkeep, is made by the image itself.
CREATE DATABASE prefect OWNER upkeep;
